"""The stages from photographs to a model, each of which goes on where it was stopped.

    DIR/pairs.txt             which photographs are matched (pairs.py)
    DIR/matches/              what was found in each pair (store.py)
    DIR/stars/                points of each photograph in its partners (stars.py)
    DIR/tracks.safetensors    points of the scene in many photographs (tracks.py)
    DIR/database.db           COLMAP's database, geometrically verified (database.py)
    DIR/sparse/0 ...          COLMAP models in binary, the largest first (mapping.py)

Each result bears a stamp of what it was made from. A stage whose result bears the right stamp is
done; one whose input has changed since is done anew. Results are written beside and renamed.
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from astr_jax.files import replacing
from astr_jax.matching import Matcher
from astr_jax.reconstruction import bulk
from astr_jax.reconstruction.engines import Engine, Work, match_spread
from astr_jax.reconstruction.pairs import Pair
from astr_jax.reconstruction.photos import Photo
from astr_jax.reconstruction.pictures import make_picture
from astr_jax.reconstruction.stars import PairMatches, StarOptions, grow_stars
from astr_jax.reconstruction.store import MatchStore
from astr_jax.reconstruction.tracks import Tracks, choose_tracks, read_tracks, write_tracks

SPACING = 4.0  # working pixels: chosen tracks lie so far apart, by and large
PICTURES = 48  # images that the stage of tracks keeps in memory; one of 1600 pixels takes 25 MB

Grow = Callable[[int, Sequence[PairMatches]], Tracks]  # the stars of an image


@dataclasses.dataclass(frozen=True)
class Workspace:
    """Where the results of a reconstruction stand."""

    folder: pathlib.Path

    @property
    def pairs(self) -> pathlib.Path:
        return self.folder / "pairs.txt"

    @property
    def matches(self) -> pathlib.Path:
        return self.folder / "matches"

    @property
    def stars(self) -> pathlib.Path:
        return self.folder / "stars"

    @property
    def tracks(self) -> pathlib.Path:
        return self.folder / "tracks.safetensors"

    @property
    def database(self) -> pathlib.Path:
        return self.folder / "database.db"

    @property
    def sparse(self) -> pathlib.Path:
        return self.folder / "sparse"

    @property
    def report(self) -> pathlib.Path:
        return self.folder / "report.html"


def stamp_of(*parts) -> str:
    """A short digest of things that are fit for JSON."""
    text = json.dumps(parts, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def read_stamp(result: str | os.PathLike) -> str | None:
    """The stamp beside a result (RESULT.stamp), None where the result or the stamp is missing."""
    result = pathlib.Path(result)
    file = result.with_name(result.name + ".stamp")
    return file.read_text() if file.is_file() and result.exists() else None


def write_stamp(result: str | os.PathLike, stamp: str) -> None:
    """Puts a stamp beside a result; the last thing that a stage does."""
    result = pathlib.Path(result)
    with replacing(result.with_name(result.name + ".stamp")) as beside:
        beside.write_text(stamp)


def match_stage(
    matcher: Matcher,
    weights: pathlib.Path,
    photos: Sequence[Photo],
    pairs: Sequence[Pair],
    store_folder: pathlib.Path,
    *,
    shard: bulk.Shard | None = None,
    engine: Engine | None = None,
    keep: int = bulk.KEEP,
    least_agreeing: float = 0.0,
    on_start: Callable[[int, int], None] = lambda done, total: None,
    on_pair: Callable[[Pair], None] = lambda pair: None,
) -> MatchStore:
    """Matches what is missing of the list, or of a shard of it, here or by an engine.

    on_start hears how many of how many pairs are there already.
    """
    store = MatchStore(store_folder, bulk.settings_of(matcher.options, weights, least_agreeing))
    ordered = (shard or bulk.Shard()).of(bulk.in_blocks(pairs, block=max(1, keep // 2)))
    on_start(sum(pair in store for pair in ordered), len(ordered))
    paths = {photo.name: photo.path for photo in photos}
    if engine is None or engine.name == "here":
        options = {"keep": keep, "least_agreeing": least_agreeing, "on_pair": on_pair}
        bulk.match_pairs(matcher, ordered, paths, store, **options)
    else:
        work = Work(
            weights=weights,
            options=matcher.options,
            paths=paths,
            keep=keep,
            least_agreeing=least_agreeing,
        )
        match_spread(engine, work, ordered, store, on_pair=on_pair)
    return store


def track_stage(
    photos: Sequence[Photo],
    pairs: Sequence[Pair],
    store: MatchStore,
    place: Workspace,
    options: StarOptions,
    *,
    grow: Grow | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> tuple[Tracks, str]:
    """The tracks of what the store has of these pairs, and their stamp. Stars that are there are
    read. on_image hears of each image whose stars are done.

    grow(image, pairs): makes the stars of an image; None: grow_stars.

    Raises ValueError where pairs have not been matched.
    """
    missing = [pair for pair in pairs if pair not in store]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(pairs)} pairs are not in {store.folder}, the first: "
            f"{' '.join(missing[0])}. Match them first (astr match-pairs)."
        )
    names = [photo.name for photo in photos]
    settings = json.loads((store.folder / "settings.json").read_text(encoding="utf-8"))
    options = _fitting(options, settings["resize"], photos)
    partners = _partners(names, pairs)
    made_of = "stars 1", names, settings, dataclasses.asdict(options)
    stamps = {image: stamp_of(*made_of, of) for image, of in partners.items()}
    stamp = stamp_of("tracks 1", SPACING, stamps)
    if place.tracks.is_file():
        tracks, found = read_tracks(place.tracks)
        if found == stamp:
            return tracks, stamp
    place.stars.mkdir(exist_ok=True)
    parts, number = StarFiles(place.stars, tuple(partners)), {x: n for n, x in enumerate(names)}
    grow = grow or _growing(photos, options)
    for image in sorted(partners):
        file = parts.file(image)
        if not file.is_file() or read_tracks(file)[1] != stamps[image]:
            stars = grow(image, _matches(store, partners[image], number))
            write_tracks(file, stars, stamp=stamps[image])
        on_image()
    scale = [max(1.0, max(photo.stored_shape) / options.resize) for photo in photos]
    tracks = choose_tracks(names, parts, SPACING * np.array(scale))
    write_tracks(place.tracks, tracks, stamp=stamp)
    return tracks, stamp


def _fitting(options: StarOptions, resize: int, photos: Sequence[Photo]) -> StarOptions:
    """The options for photographs matched at `resize`, no larger than they need be."""
    largest = max(max(photo.stored_shape) for photo in photos)
    size = max(resize, min(options.polish_size, largest))
    return dataclasses.replace(options, resize=resize, polish_size=size)


def _growing(photos: Sequence[Photo], options: StarOptions) -> Grow:
    """grow_stars with the pictures that it needs, the last ones kept in memory."""

    @functools.lru_cache(PICTURES)
    def picture_of(image: int):
        path, polish = photos[image].path, options.polish_size
        return make_picture(path, resize=options.resize, polish_size=polish)

    return lambda image, pairs: grow_stars(image, pairs, picture_of, options)


def _matches(
    store: MatchStore, partners: Sequence[tuple[Pair, int]], number: Mapping[str, int]
) -> list[PairMatches]:
    """What the store has of one image."""
    found = []
    for pair, side in partners:
        points = store.read(pair)[:2]
        found.append(PairMatches(number[pair[1 - side]], points[side], points[1 - side]))
    return found


@dataclasses.dataclass(frozen=True)
class StarFiles(Sequence[Tracks]):
    """The stars of images, read from their files one at a time."""

    folder: pathlib.Path
    images: tuple[int, ...]

    def file(self, image: int) -> pathlib.Path:
        """Where the stars of an image stand."""
        return self.folder / f"{image:06d}.safetensors"

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tracks:
        return read_tracks(self.file(self.images[index]))[0]


def _partners(names: Sequence[str], pairs: Sequence[Pair]) -> dict[int, list[tuple[Pair, int]]]:
    """The pairs of each image, and which side of each it is."""
    number = {name: n for n, name in enumerate(names)}
    partners: dict[int, list[tuple[Pair, int]]] = {}
    for pair in pairs:
        for side, name in enumerate(pair):
            partners.setdefault(number[name], []).append((pair, side))
    return partners
