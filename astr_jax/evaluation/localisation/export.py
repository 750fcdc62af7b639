"""Matches for hloc's visual localisation: Aachen Day-Night v1.1 and InLoc.

`write_matches` matches the pairs of an hloc list, "query/a.jpg db/b.jpg" a line. It writes
OUT/features.h5 and OUT/matches-LIST.h5, which hloc reads; hloc_files.py has their layout. It writes
OUT/dense.h5 too, which grows pair by pair: killed half-way, the same call goes on.

A picture's keypoints, once in features.h5, stay: a model may have been made from them, and matches
of later lists are brought to them. A picture that meets only such pictures is a query: all its
points are keypoints. Pictures are matched as their EXIF turns them; what is written is in pixels as
stored, since hloc and pycolmap read these and ignore the tag.

The CACHED pictures used last are kept as they were encoded, so that one that recurs soon is encoded
once.

Aachen: match the list of database pairs; `hloc.triangulation`; match the list of query pairs into
the same OUT; `hloc.localize_sfm`. InLoc: match the list of query pairs; `hloc.localize_inloc`.
`next_command` has each in full.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from astr_jax.evaluation.benchmarks.resizing import Resize, load_image
from astr_jax.evaluation.localisation.hloc_files import (
    DenseMatches,
    add_keypoints,
    read_keypoints,
    write_hloc_matches,
)
from astr_jax.evaluation.localisation.shared_keypoints import (
    Quantisation,
    choose_keypoints,
    nearest_keypoints,
    one_to_one,
)
from astr_jax.evaluation.matchers.named import as_given
from astr_jax.evaluation.scores.found import FoundMatches, MatchFunction, checked_matches
from astr_jax.images import orientation, stored_shape, to_stored
from astr_jax.reconstruction.pairs import read_pairs

CACHED = 32  # pictures; one of 1024 x 768 takes some 150 MB by the largest model, in each turn


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalisationProtocol:
    """How a benchmark of localisation is matched; hloc's settings for dense matchers."""

    resize: Resize
    quantisation: Quantisation


PROTOCOLS = {
    "aachen": LocalisationProtocol(
        resize=Resize(long_side=1024, multiple=8),
        quantisation=Quantisation(cell=8, max_error=2, max_keypoints=8192),
    ),
    "inloc": LocalisationProtocol(
        resize=Resize(long_side=1024, multiple=8), quantisation=Quantisation(cell=1, max_error=1)
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Written:
    """What write_matches left behind."""

    features: pathlib.Path
    matches: pathlib.Path
    num_pairs: int  # of the list, each once
    num_new: int  # of these, matched by this call
    failures: dict[str, str]  # "a.jpg b.jpg" -> message; their pairs have no matches


def write_matches(
    match: MatchFunction,
    pairs_file: str | pathlib.Path,
    image_dir: str | pathlib.Path,
    out_dir: str | pathlib.Path,
    resize: Resize,
    *,
    quantisation: Quantisation,
    encode: Callable = as_given,
    settings: dict | None = None,
    allow_failures: bool = False,
    on_pair: Callable[[str], None] | None = None,
    say: Callable[[str], None] = print,
) -> Written:
    """Matches the pairs that are not in dense.h5 yet, and writes what hloc reads.

    match, encode: as of a NamedMatcher; match is given what encode made of each picture.
    settings: of the matcher, fit for JSON; a folder of other settings or another size is refused.
    on_pair hears of each pair of the list as it is done, those done before too.

    Pairs whose matching raises an error end the call by a ValueError behind the last pair, before
    keypoints are fixed. The next call tries them again. allow_failures: go on without them.
    """
    pairs_file, image_dir, out_dir = map(pathlib.Path, (pairs_file, image_dir, out_dir))
    pairs = read_pairs(pairs_file)
    _check_names(pairs, pairs_file, image_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    features, matches = out_dir / "features.h5", out_dir / f"matches-{pairs_file.stem}.h5"
    keypoints = read_keypoints(features)
    stated = {"resize": str(resize), "pixels": "as stored", **(settings or {})}
    with DenseMatches(out_dir / "dense.h5", stated, say) as dense:
        new, failures = 0, {}
        load = functools.lru_cache(CACHED)(lambda name: _encoded(image_dir / name, resize, encode))
        for pair in pairs:
            if pair not in dense:
                try:
                    dense.write(pair, _match(match, load, pair, keypoints))
                    new += 1
                except Exception as error:
                    failures[" ".join(pair)] = f"{type(error).__name__}: {error}"
            if on_pair is not None:
                on_pair(" ".join(pair))
        if failures and not allow_failures:
            pair, message = next(iter(failures.items()))
            raise ValueError(
                f"{len(failures)} of {len(pairs)} pairs failed, the first: {pair} ({message}). Run "
                "again to try them again, or allow failures to go on without them."
            )
        added = _new_keypoints(dense, pairs, keypoints, quantisation)
        if added:
            add_keypoints(features, added)
            keypoints = keypoints | {name: points for name, (points, _) in added.items()}
        tree = functools.lru_cache(CACHED)(lambda name: KDTree(keypoints[name]))
        rows = ((pair, *_assign(dense.read(pair), pair, tree, quantisation)) for pair in pairs)
        write_hloc_matches(matches, rows)
    return Written(
        features=features, matches=matches, num_pairs=len(pairs), num_new=new, failures=failures
    )


def _check_names(pairs: Sequence[tuple[str, str]], pairs_file, image_dir: pathlib.Path) -> None:
    names = sorted({name for pair in pairs for name in pair})
    blank = [name for name in names if name.split() != [name]]
    if blank:
        raise ValueError(f"{pairs_file}: hloc parts names at blanks; rename {blank[0]!r}.")
    missing = [name for name in names if not (image_dir / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of the {len(names)} pictures of {pairs_file} are not in {image_dir}, "
            f"the first: {missing[0]}."
        )
    if len({name.replace("/", "-") for name in names}) < len(names):
        raise ValueError(f"{pairs_file}: two names differ in nothing but '/' and '-'; rename one.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Encoded:
    """A picture as it is matched."""

    encoded: object  # what a matcher takes for it
    resize: Float[np.ndarray, "3 3"]  # pixels of the upright picture to those
    orientation: int  # by the file's EXIF tag
    stored_shape: tuple[int, int]  # (h, w)

    def in_file(self, points: Float[np.ndarray, "k 2"]) -> Float[np.ndarray, "k 2"]:
        """Points as matched, in pixels as the file stores them."""
        upright = (points - self.resize[:2, 2]) / self.resize[(0, 1), (0, 1)]
        return to_stored(upright, self.orientation, self.stored_shape)


def _encoded(path: pathlib.Path, resize: Resize, encode: Callable) -> _Encoded:
    image, matrix = load_image(path, resize)
    return _Encoded(
        encoded=encode(image),
        resize=matrix,
        orientation=orientation(path),
        stored_shape=stored_shape(path),
    )


def _match(
    match: MatchFunction,
    load: Callable[[str], _Encoded],
    pair: tuple[str, str],
    fixed: dict[str, np.ndarray],
) -> FoundMatches:
    """The matches of a pair in pixels of its files, as stored.

    The matcher gets the second picture first. Matchers that refine the points of one image alone
    refine the second's. So the first of the list, a query, has the exact points. Those of the other
    lie on a grid, where they meet those of its other pairs. Where only the first has fixed
    keypoints, it is the other way round.
    """
    order = (0, 1) if pair[0] in fixed and pair[1] not in fixed else (1, 0)
    pictures = [load(name) for name in pair]
    found = checked_matches(match(*(pictures[k].encoded for k in order), K0=None, K1=None))
    points = [(found.points0, found.points1)[k] for k in order]
    inside = np.ones(len(found), bool)
    for k, picture in enumerate(pictures):
        points[k] = picture.in_file(points[k])
        # hloc looks up InLoc's scans strictly between the centres of the outermost pixels.
        last = np.array(picture.stored_shape[::-1]) - 1
        inside &= ((points[k] > 0) & (points[k] < last)).all(axis=1)
    in_files = FoundMatches(points0=points[0], points1=points[1], confidence=found.confidence)
    return in_files[inside]


def _new_keypoints(
    dense: DenseMatches, pairs: Sequence[tuple[str, str]], fixed: dict, rule: Quantisation
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Keypoints and their scores of all pictures of the list that have none yet."""
    places: dict[str, list[tuple[tuple[str, str], int]]] = {}
    for pair in pairs:
        for side, name in enumerate(pair):
            if name not in fixed:
                places.setdefault(name, []).append((pair, side))
    chosen = {}
    for name, where in places.items():
        found = [(dense.read(pair), side) for pair, side in where]
        points = np.concatenate([(f.points0, f.points1)[side] for f, side in found])
        confidence = np.concatenate([f.confidence for f, _ in found])
        query = all(pair[1 - side] in fixed for pair, side in where)
        exact = dataclasses.replace(rule, cell=0, max_keypoints=None)
        chosen[name] = choose_keypoints(points, confidence, exact if query else rule)
    return chosen


def _assign(found: FoundMatches, pair, tree: Callable[[str], KDTree], rule: Quantisation):
    """matches0 and its confidence: a pair's matches brought to the keypoints of its pictures."""
    trees = [tree(name) for name in pair]
    numbers = [
        nearest_keypoints(points, tree, rule.max_error)
        for points, tree in zip((found.points0, found.points1), trees, strict=True)
    ]
    return one_to_one(*numbers, found.confidence, trees[0].n)


def next_command(
    benchmark: str,
    written: Written,
    *,
    dataset: str | pathlib.Path,
    image_dir: str | pathlib.Path,
    pairs_file: str | pathlib.Path,
) -> str:
    """The command of hloc that goes on from what was written.

    dataset: the benchmark's folder. A list of Aachen without a picture below query/ is of the
    database, and leads to the model. That goes to sfm/ beside the features, where lists of queries
    look for it.
    """
    out = written.features.parent
    files = f"--features {written.features} --matches {written.matches}"
    dataset = pathlib.Path(dataset)
    if benchmark == "inloc":
        return (
            f"python -m hloc.localize_inloc --dataset_dir {dataset} --retrieval {pairs_file} "
            f"{files} --results {out / 'inloc.txt'} --skip_matches 20"
        )
    if benchmark != "aachen":
        raise ValueError(f"there is no {benchmark!r}. There are: {', '.join(PROTOCOLS)}.")
    if not any(n.startswith("query/") for pair in read_pairs(pairs_file) for n in pair):
        return (
            f"python -m hloc.triangulation --sfm_dir {out / 'sfm'} "
            f"--reference_sfm_model {dataset / '3D-models' / 'aachen_v_1_1'} "
            f"--image_dir {image_dir} --pairs {pairs_file} {files}"
        )
    queries = dataset / "queries" / "*_time_queries_with_intrinsics.txt"
    return (
        f"python -m hloc.localize_sfm --reference_sfm {out / 'sfm'} --queries '{queries}' "
        f"--retrieval {pairs_file} {files} --results {out / 'aachen_v1.1.txt'}"
    )
