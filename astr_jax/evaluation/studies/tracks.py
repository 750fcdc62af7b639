"""Does a matcher find the points of real scenes where structure from motion has measured them?

Pairs of photographs of a scene, of every range of overlap. Points that both show are asked for one
by one, and ordinary matches are held against the epipolar lines. Pixels are those of the images at
the scene's size.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from astr_jax.data.scenes import LEAST_ANGLE, Scene
from astr_jax.data.track_pairs import OVERLAPS
from astr_jax.evaluation.matchers.named import NamedMatcher
from astr_jax.evaluation.scores.found import checked_matches
from astr_jax.evaluation.scores.metrics import line_distances
from astr_jax.geometry import fundamental_matrix, relative_pose

LEAST_VIEWS = 3  # of a point that is asked for
LEAST_POINTS, MOST_POINTS = 12, 512  # of a pair
WITHIN = (1.0, 3.0, 5.0)  # pixels between a point and where it was measured
NEAR_LINE = (1.0, 3.0)  # pixels between a match and its epipolar line
DRAWS = 2000  # of the bootstrap over pairs

OF_POINTS = tuple(f"within {t:g} px" for t in WITHIN)
MEDIAN = "median error, px"
OF_LINES = tuple(f"{t:g} px from the line" for t in NEAR_LINE)
MEASURES: dict[str, Callable] = {  # and how they are averaged over pairs
    **dict.fromkeys(OF_POINTS, np.mean),
    MEDIAN: np.median,
    **dict.fromkeys(("matches", *OF_LINES), np.mean),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackRecord:
    """What a matcher made of a pair: some of the MEASURES by name, shares in [0, 1]."""

    scene: str
    image0: int  # numbers within the scene
    image1: int
    points: int  # that were asked for, or would have been
    scores: dict[str, float]

    @property
    def pair(self) -> tuple[str, int, int, int]:
        """What is the same for two matchers."""
        return self.scene, self.image0, self.image1, self.points


@dataclasses.dataclass(frozen=True)
class Measured:
    """A value over pairs, and the ends of what holds 95 % of the draws."""

    value: float
    low: float
    high: float

    @property
    def told(self) -> bool:
        """Whether the interval keeps off 0."""
        return self.low > 0 or self.high < 0


def asked_points(scene: Scene, i: int, j: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Where image i and image j show the points that serve, [k 2] each: of LEAST_VIEWS views, at
    LEAST_ANGLE between the two rays; of more than MOST_POINTS, some at random."""
    at_i, at_j = scene.common(i, j)
    good = scene.views[scene.rows[i][at_i]] >= LEAST_VIEWS
    chosen = np.flatnonzero(good & (scene.parallax(i, j) >= LEAST_ANGLE))
    rng = np.random.default_rng([seed, i, j])
    chosen = np.sort(rng.permutation(chosen)[:MOST_POINTS])
    return scene.keypoints[i][at_i[chosen]], scene.keypoints[j][at_j[chosen]]


def draw_pairs(
    scene: Scene, count: int, seed: int, among: Int[np.ndarray, "p 2"] | None = None
) -> list[tuple[int, int]]:
    """At most so many pairs with LEAST_POINTS points: of each range of overlap about as many, in
    either order. The first ones of a larger count are those of a smaller one.

    among: the pairs i < j to choose from; None for all of the scene.
    """
    index, overlap = scene.pairs
    if among is not None:
        allowed = set(map(tuple, among.tolist()))
        kept = np.array([pair in allowed for pair in map(tuple, index.tolist())], bool)
        index, overlap = index[kept], overlap[kept]
    rng = np.random.default_rng(seed)
    order, band = rng.permutation(len(index)), np.digitize(overlap, OVERLAPS)
    waiting = [[k for k in order if band[k] == number] for number in np.unique(band)]
    drawn: list[tuple[int, int]] = []
    while len(drawn) < count and any(waiting):
        for of_band in waiting:
            while of_band and len(drawn) < count:
                i, j = rng.permutation(index[of_band.pop()]).tolist()
                if len(asked_points(scene, i, j, seed)[0]) >= LEAST_POINTS:
                    drawn.append((i, j))
                    break
    return drawn


def records_of(
    matcher: NamedMatcher,
    scene: Scene,
    pairs: Sequence[tuple[int, int]],
    seed: int = 0,
    *,
    points_alone: bool = False,
) -> Iterator[TrackRecord]:
    """The record of every pair, in order; each image is encoded once. seed: of the points.
    points_alone: without ordinary matches, which takes half the time."""
    encoded = {k: matcher.encode(scene.images[k]) for k in sorted({k for ij in pairs for k in ij})}
    for i, j in pairs:
        points0, points1 = asked_points(scene, i, j, seed)
        scores = {}
        if matcher.locate is not None:
            found = np.asarray(matcher.locate(encoded[i], encoded[j], points0))
            scores |= _of_points(np.linalg.norm(found - points1, axis=1))
        if not points_alone:
            matches = checked_matches(matcher.match(encoded[i], encoded[j]))
            pose = relative_pose(scene.cam_from_world[i], scene.cam_from_world[j])
            matrix = fundamental_matrix(pose, scene.K[i], scene.K[j])
            scores |= _of_lines(line_distances(matches.points0, matches.points1, matrix))
        yield TrackRecord(scene=scene.name, image0=i, image1=j, points=len(points0), scores=scores)


def _of_points(errors: Float[np.ndarray, " k"]) -> dict[str, float]:
    shares = [float((errors <= t).mean()) for t in WITHIN]
    return dict(zip(OF_POINTS, shares, strict=True)) | {MEDIAN: float(np.median(errors))}


def _of_lines(off: Float[np.ndarray, " k"]) -> dict[str, float]:
    """Without matches the shares are 0."""
    shares = [float((off <= t).sum() / max(1, len(off))) for t in NEAR_LINE]
    return {"matches": float(len(off))} | dict(zip(OF_LINES, shares, strict=True))


def measured(records: Sequence[TrackRecord], name: str) -> Measured:
    """One of the MEASURES over pairs, each of which counts alike. The interval speaks of the choice
    of pairs from these scenes."""
    values = np.array([record.scores[name] for record in records])
    average, rows = MEASURES[name], _drawn(len(values))
    return _measured(average(values), average(values[rows], axis=1))


def difference(first: Sequence[TrackRecord], second: Sequence[TrackRecord], name: str) -> Measured:
    """second - first of one of the MEASURES, over the same pairs in one order, drawn together."""
    a, b = (np.array([record.scores[name] for record in side]) for side in (first, second))
    average, rows = MEASURES[name], _drawn(len(a))
    drawn = average(b[rows], axis=1) - average(a[rows], axis=1)
    return _measured(average(b) - average(a), drawn)


def _drawn(count: int) -> Int[np.ndarray, "r n"]:
    return np.random.default_rng(0).integers(0, count, (DRAWS, count))


def _measured(value, drawn) -> Measured:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Measured(float(value), float(low), float(high))


def in_common(
    first: Sequence[TrackRecord], second: Sequence[TrackRecord]
) -> tuple[list[TrackRecord], list[TrackRecord]]:
    """The records of the pairs that both have, in the order of the second. Raises ValueError
    where there are none."""
    known = {record.pair: record for record in first}
    both = [(known[record.pair], record) for record in second if record.pair in known]
    if not both:
        raise ValueError(
            "the two have no pair in common: take the same scenes, --pairs and --seed for both."
        )
    return [a for a, _ in both], [b for _, b in both]


def read_tracks_report(path: str | os.PathLike) -> tuple[dict, dict[str, list[TrackRecord]]]:
    """The settings, and the records of each matcher, of a file that `astr eval tracks --out` wrote.
    Raises FileNotFoundError or ValueError."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        found = {name: [TrackRecord(**x) for x in rows] for name, rows in held["pairs"].items()}
        if unknown := {name for rows in found.values() for x in rows for name in x.scores} - {
            *MEASURES
        }:
            raise ValueError(f"it holds {min(unknown)!r}")
        return dict(held["settings"]), found
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is not what astr eval tracks --out writes ({error}).") from None
