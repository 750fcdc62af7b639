"""Which photographs are matched with which: lists of pairs, made and read.

A file has a pair a line: two names with a tab between them, or a blank as hloc and COLMAP have it.
A pair is matched in the order in which it stands; of both orders the first counts.
"""

import itertools
import os
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, Int

from astr_jax.files import replacing

Pair = tuple[str, str]


def exhaustive(names: Sequence[str]) -> list[Pair]:
    """Each with each."""
    return list(itertools.combinations(names, 2))


def sequential(names: Sequence[str], *, window: int = 10, loop_every: int = 0) -> list[Pair]:
    """Each with the next `window`, in the order given; for a video.

    loop_every: where above 0, every so many-th photograph is also matched with every other such
    one, so that a walk that comes back is closed.
    """
    if window < 1 or loop_every < 0:
        raise ValueError(
            f"window must be at least 1 and loop_every at least 0; got {window} and {loop_every}."
        )
    near = [pair for i, a in enumerate(names) for pair in ((a, b) for b in names[i + 1 :][:window])]
    loops = itertools.combinations(names[::loop_every], 2) if loop_every else ()
    return list(dict.fromkeys([*near, *loops]))


def most_similar(
    names: Sequence[str], similarity: Float[np.ndarray, "n n"], *, most: int
) -> list[Pair]:
    """Each with the `most` that are most like it.

    similarity: larger is more alike; NaN and -inf never are.
    """
    if most < 1:
        raise ValueError(f"most must be at least 1; got {most}.")
    similarity = np.where(np.isnan(similarity), -np.inf, similarity).astype(float)
    np.fill_diagonal(similarity, -np.inf)
    best = np.argsort(-similarity, axis=1, kind="stable")[:, :most]
    chosen = {
        (min(i, int(j)), max(i, int(j)))
        for i, row in enumerate(best)
        for j in row
        if np.isfinite(similarity[i, j])
    }
    return [(names[i], names[j]) for i, j in sorted(chosen)]


def nearest(
    names: Sequence[str],
    positions: Float[np.ndarray, "n 3"],
    *,
    most: int,
    within: float | None = None,
) -> list[Pair]:
    """Each with the `most` that were taken nearest to it, no further off than `within`.

    positions: metres; NaN where they are not known, and then there is no pair.
    """
    if within is not None and not within > 0:
        raise ValueError(f"within must be above 0; got {within}.")
    positions = positions - np.nanmean(positions, axis=0)  # metres of the earth's size lose digits
    squares = (positions**2).sum(axis=1)
    away = squares[:, None] + squares[None] - 2 * positions @ positions.T
    away = np.sqrt(np.maximum(away, 0))
    return most_similar(names, np.where(away <= (within or np.inf), -away, np.nan), most=most)


def covisible(
    names: Sequence[str], points: Sequence[Int[np.ndarray, "..."]], *, most: int, least: int = 15
) -> list[Pair]:
    """Each with the `most` with which it shares the most points of a model, at least `least`.

    points: the numbers of the points that each photograph sees, each once.
    """
    shared = np.full((len(names), len(names)), -np.inf)
    for i, j in itertools.combinations(range(len(names)), 2):
        count = len(np.intersect1d(points[i], points[j], assume_unique=True))
        if count >= least:
            shared[i, j] = shared[j, i] = count
    return most_similar(names, shared, most=most)


def covisible_in_model(
    folder: str | os.PathLike, names: Sequence[str], *, most: int = 20
) -> list[Pair]:
    """covisible by a COLMAP model of these photographs (cameras of any kind). Needs pycolmap.

    Raises ValueError where the model is none, or shows none of them.
    """
    import pycolmap

    try:
        model = pycolmap.Reconstruction(str(folder))
    except Exception as error:  # pycolmap raises what its C++ does
        raise ValueError(f"{folder} is no COLMAP model ({error}).") from None
    seen = {
        image.name: np.unique([p.point3D_id for p in image.points2D if p.has_point3D()])
        for image in model.images.values()
    }
    there = [name for name in names if name in seen]
    if len(there) < 2:
        raise ValueError(
            f"{folder} has {len(seen)} images, but not two of these photographs: the names must "
            "be those of the folder."
        )
    return covisible(there, [seen[name] for name in there], most=most)


def read_pairs(file: str | os.PathLike, names: Iterable[str] | None = None) -> list[Pair]:
    """A list of pairs, each once; blank lines and those that begin with # are passed over.

    names: of the photographs that there are; None: any. Raises FileNotFoundError or ValueError.
    """
    file, known = pathlib.Path(file), None if names is None else set(names)
    if not file.is_file():
        raise FileNotFoundError(f"there is no list of pairs {file}.")
    pairs: dict[frozenset[str], Pair] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split("\t") if "\t" in line else line.split()
        if len(words) != 2 or words[0] == words[1]:
            raise ValueError(
                f"{file}, line {number}: expected two names, with a tab between them where they "
                f"hold blanks; got {line!r}."
            )
        unknown = [word for word in words if known is not None and word not in known]
        if unknown:
            raise ValueError(f"{file}, line {number}: there is no photograph {unknown[0]!r}.")
        pairs.setdefault(frozenset(words), (words[0], words[1]))
    if not pairs:
        raise ValueError(f"{file} has no pair of photographs.")
    return list(pairs.values())


def write_pairs(file: str | os.PathLike, pairs: Sequence[Pair]) -> None:
    """Writes a list of pairs, a tab between the names."""
    with replacing(file) as beside:
        beside.write_text("".join(f"{a}\t{b}\n" for a, b in pairs), encoding="utf-8")
