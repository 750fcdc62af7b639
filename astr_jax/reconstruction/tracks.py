"""Tracks: one point of the scene in many images.

    seeds   every image proposes one point for each of its coarse cells: a corner (seeds.py)
    stars   the matches of each pair carry a seed to all partners of its image (carrying.py)
    choice  a star that shows little that others have not shown is dropped, the widest come first
    polish  least-squares matching lays every observation upon the seed's own surroundings

So all observations of a track mean the very point of its reference image, to a fraction of a
pixel, though the pairs were matched apart, at points that differ by a few pixels. A track has one
observation per image by construction. Images are taken one after the other: memory holds the
pictures of some, and the matches of one.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import Bool, Float, Int

from astr_jax.files import replacing
from astr_jax.geometry import enlarged_points, shrunk_points
from astr_jax.matching.canvases import canvases
from astr_jax.ops.grids import COARSE_STRIDE
from astr_jax.reconstruction.carrying import carry, filled, settle
from astr_jax.reconstruction.pictures import Picture


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackOptions:
    """How tracks are made."""

    resize: int = 640  # limit of the long side that pairs were matched at, pixels
    polish_size: int = 1600  # limit of the long side that observations are polished at, pixels
    least_new: float = 0.5  # of a star's observations: in cells where no track is yet
    keep_unsettled: bool = False  # also where least-squares matching finds no rest

    def __post_init__(self):
        if self.polish_size < self.resize:
            raise ValueError(
                f"polish_size must be at least resize; got {self.polish_size} and {self.resize}."
            )
        if not 0 <= self.least_new <= 1:
            raise ValueError(f"least_new must lie in [0, 1]; got {self.least_new}.")


@dataclasses.dataclass(frozen=True)
class Tracks:
    """Observations of scene points, sorted by track; each image at most once in a track."""

    names: tuple[str, ...]  # of all images
    track: Int[np.ndarray, " n"]  # numbers from 0 on, ascending
    image: Int[np.ndarray, " n"]  # into names
    points: Float[np.ndarray, "n 2"]  # pixels of the upright image as given
    sigma: Float[np.ndarray, " n"]  # standard deviation per axis, the same pixels; 0: reference

    @property
    def count(self) -> int:
        """How many tracks there are."""
        return int(self.track[-1]) + 1 if len(self.track) else 0

    @property
    def mean_length(self) -> float:
        """Images per track."""
        return len(self.track) / max(self.count, 1)


class PairMatches(NamedTuple):
    """The matches of one image with another."""

    partner: int
    own: Float[np.ndarray, "k 2"]  # pixels of the upright images as given
    others: Float[np.ndarray, "k 2"]


@dataclasses.dataclass(frozen=True)
class _Carried:
    """Seeds of an image in one partner, in working pixels of either."""

    partner: int
    points: Float[np.ndarray, "s 2"]
    affine: Float[np.ndarray, "s 2 2"]
    known: Bool[np.ndarray, " s"]


def build_tracks(
    names: Sequence[str],
    order: Iterable[int],
    matches_of: Callable[[int], Sequence[PairMatches]],
    picture_of: Callable[[int], Picture],
    options: TrackOptions,
    on_image: Callable[[int], None] = lambda image: None,
) -> Tracks:
    """The tracks of all images.

    order: images, in the order in which their stars are grown; the best connected first.
    matches_of: all that pairs found of an image. on_image hears of each image as it is done.
    """
    covered = [None] * len(names)  # cells of each image that have a track
    found: list[Tracks] = []
    count = 0
    for image in order:
        pairs = [pair for pair in matches_of(image) if len(pair.own)]
        if pairs:
            for pair in (image, *(p.partner for p in pairs)):
                if covered[pair] is None:
                    covered[pair] = np.zeros(picture_of(pair).grid, bool)
            star = _stars(image, pairs, picture_of, covered, options)
            found.append(dataclasses.replace(star, names=tuple(names), track=star.track + count))
            count += star.count
        on_image(image)
    return _joined(tuple(names), found)


def _joined(names: tuple[str, ...], parts: Sequence[Tracks]) -> Tracks:
    if not parts:
        empty = np.zeros(0, np.int64)
        return Tracks(names, empty, empty, np.zeros((0, 2)), np.zeros(0))
    fields = ("track", "image", "points", "sigma")
    return Tracks(names, *(np.concatenate([getattr(p, f) for p in parts]) for f in fields))


def _stars(image, pairs, picture_of, covered, options: TrackOptions) -> Tracks:
    """The chosen tracks whose reference is this image; marks the cells that they cover."""
    picture = picture_of(image)
    seeds = picture.seeds.points
    carried = [_carried(pair, picture, picture_of(pair.partner), options) for pair in pairs]
    new = _new(covered[image], seeds)
    own_new = new.copy()
    total = np.ones(len(seeds), int)
    new = new.astype(int)
    for c in carried:
        new += c.known & _new(covered[c.partner], c.points)
        total += c.known
    chosen = own_new & (total > 1) & (new >= np.maximum(2, options.least_new * total))
    rows, images, points, sigmas = [], [], [], []
    for c in carried:
        take = np.flatnonzero(c.known & chosen)
        settled, there, sigma = _settled(picture, picture_of(c.partner), c, take, options)
        take = take[settled]
        rows.append(take)
        images.append(np.full(len(take), c.partner))
        points.append(there[settled])
        sigmas.append(sigma[settled])
    rows, images = np.concatenate(rows), np.concatenate(images)
    points, sigmas = np.concatenate(points), np.concatenate(sigmas)
    own = np.unique(rows)
    rows, images = np.append(rows, own), np.append(images, np.full(len(own), image))
    points = np.append(points, enlarged_points(seeds[own], picture.working_scale), axis=0)
    sigmas = np.append(sigmas, np.zeros(len(own)))
    order = np.lexsort([images, rows])
    rows, images, points, sigmas = (x[order] for x in (rows, images, points, sigmas))
    for other in np.unique(images):
        at = shrunk_points(points[images == other], picture_of(other).working_scale)
        y, x = _cells(covered[other], at)
        covered[other][y, x] = True
    track = np.unique(rows, return_inverse=True)[1].reshape(-1)
    return Tracks((), track, images, points, sigmas)


def _carried(pair: PairMatches, picture: Picture, other: Picture, options) -> _Carried:
    grid = tuple(side // COARSE_STRIDE for side in canvases(options.resize)[-1])
    room = grid[0] * grid[1]
    own = shrunk_points(pair.own, picture.working_scale).astype(np.float32)
    others = shrunk_points(pair.others, other.working_scale).astype(np.float32)
    seeds = picture.seeds.points
    points, affine, known = carry(
        filled(own, room),
        filled(others, room),
        filled(np.ones(len(own), bool), room),
        filled(seeds, room),
        grid=grid,
    )
    points, affine, known = (np.asarray(x)[: len(seeds)] for x in (points, affine, known))
    inside = (points >= 0) & (points <= np.array(other.working_shape[::-1]) - 1)
    return _Carried(pair.partner, points, affine, known & inside.all(axis=1))


def _settled(picture: Picture, other: Picture, carried: _Carried, take, options: TrackOptions):
    """Which of the rows `take` come to rest, where they lie in pixels as given, and sigma."""
    grid = tuple(side // COARSE_STRIDE for side in canvases(options.resize)[-1])
    room = grid[0] * grid[1]

    def polished_pixels(points, of):
        given = enlarged_points(points, of.working_scale)
        return shrunk_points(given, of.polish_scale).astype(np.float32)

    scales = [np.divide(p.working_scale, p.polish_scale) for p in (picture, other)]
    affine = carried.affine[take] * scales[1][:, None] / scales[0]
    fitted = settle(
        picture.levels,
        other.levels,
        picture.mask,
        other.mask,
        filled(polished_pixels(picture.seeds.points[take], picture), room),
        filled(polished_pixels(carried.points[take], other), room),
        filled(affine.astype(np.float32), room),
        filled(np.ones(len(take), bool), room),
    )
    settled, points, covariance = (
        np.asarray(x)[: len(take)] for x in (fitted.settled, fitted.points1, fitted.covariance)
    )
    sigma = np.sqrt((covariance[:, 0, 0] + covariance[:, 1, 1]) / 2)
    sigma = sigma * float(np.mean(other.polish_scale))
    unsettled = np.mean(other.working_scale)  # a working pixel
    sigma = np.where(settled, sigma, unsettled)
    points = enlarged_points(points, other.polish_scale)
    return settled | options.keep_unsettled, points, sigma


def _cells(covered, points: Float[np.ndarray, "k 2"]) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the cell of each point, working pixels; the outermost for those beyond."""
    xy = np.rint(points / COARSE_STRIDE).astype(int)
    return tuple(np.clip(v, 0, n - 1) for v, n in zip(xy.T[::-1], covered.shape, strict=True))


def _new(covered: Bool[np.ndarray, "h w"], points) -> Bool[np.ndarray, " k"]:
    """Which points lie in cells without a track."""
    return ~covered[_cells(covered, points)]


def write_tracks(file: str | os.PathLike, tracks: Tracks, *, stamp: str = "") -> None:
    """Writes tracks: the fields as arrays, the names in the header; stamp: what they came from."""
    arrays = {
        "track": tracks.track.astype(np.int32),
        "image": tracks.image.astype(np.int32),
        "points": tracks.points.astype(np.float32),
        "sigma": tracks.sigma.astype(np.float32),
    }
    header = {"names": json.dumps(tracks.names, ensure_ascii=False), "stamp": stamp}
    with replacing(file) as beside:
        beside.write_bytes(safetensors.numpy.save(arrays, metadata=header))


def read_tracks(file: str | os.PathLike) -> tuple[Tracks, str]:
    """Tracks and their stamp. Raises FileNotFoundError, or ValueError for another file."""
    if not pathlib.Path(file).is_file():
        raise FileNotFoundError(f"there are no tracks {file}; astr tracks makes them.")
    try:
        with safetensors.safe_open(file, framework="numpy") as opened:
            header = opened.metadata()
            names = tuple(json.loads(header["names"]))
            fields = (opened.get_tensor(f) for f in ("track", "image", "points", "sigma"))
            return Tracks(names, *fields), header["stamp"]
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} holds no tracks, or is damaged ({error}).") from None
