"""Do the matches of a pair tell whether it shows one place?

Pairs of one place are those of the lists; pairs with nothing in common are two pictures of
different sets. A number for each pair, such as the pair score, is judged by its ROC.
"""

import dataclasses
import itertools
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import poselib
from jaxtyping import Bool, Float

from astr_jax import pair_score
from astr_jax.evaluation.benchmarks.pairs import Pair
from astr_jax.evaluation.benchmarks.resizing import Resize, load_image
from astr_jax.evaluation.scores.found import FoundMatches, MatchFunction, checked_matches

SIZE = Resize(long_side=640, multiple=32)
RANSAC = {"max_epipolar_error": 1.0, "success_prob": 0.9999, "max_iterations": 5000, "seed": 0}
RIDGE = 1e-4  # how much the constants are drawn to 0


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Two pictures, of one place or of two, by their sets and their paths."""

    set0: str
    set1: str
    image0: pathlib.Path
    image1: pathlib.Path

    @property
    def same(self) -> bool:
        """Whether they show one place."""
        return self.set0 == self.set1

    @property
    def name(self) -> str:
        """Unique in a study."""
        return f"{self.set0} {self.image0.name} {self.set1} {self.image1.name}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlaceRecord:
    """What the matches of a pair hold for or against one place."""

    name: str
    set0: str
    set1: str
    evidence: tuple[float, ...]  # what the pair score is made from
    matches: int
    inliers: int  # of a fundamental matrix, by RANSAC

    @property
    def same(self) -> bool:
        """Whether the pictures show one place."""
        return self.set0 == self.set1

    @property
    def score(self) -> float:
        """The pair score."""
        return pair_score.probability(np.array(self.evidence))


SCORES: dict[str, Callable[[PlaceRecord], float]] = {
    "pair score": lambda record: record.score,
    "RANSAC inliers": lambda record: record.inliers,
    "number of matches": lambda record: record.matches,
}


def together(pairs: Sequence[Pair], count: int, seed: int) -> list[Pictures]:
    """So many of the listed pairs, which show one place each; all where they are no more."""
    order = np.random.default_rng(seed).permutation(len(pairs))[:count]
    drawn = [pairs[k] for k in order]
    return [Pictures(pair.set, pair.set, pair.image0, pair.image1) for pair in drawn]


def apart(pairs: Sequence[Pair], count: int, seed: int) -> list[Pictures]:
    """Pairs of pictures of different sets, each pair once: of any two sets about as many.

    Raises ValueError where there are not so many.
    """
    pictures = {}
    for pair in pairs:
        pictures.setdefault(pair.set, {}).update(dict.fromkeys((pair.image0, pair.image1)))
    rng = np.random.default_rng(seed)
    waiting = {}
    for set0, set1 in itertools.combinations(sorted(pictures), 2):
        all_of_both = list(itertools.product(sorted(pictures[set0]), sorted(pictures[set1])))
        waiting[set0, set1] = [all_of_both[i] for i in rng.permutation(len(all_of_both))]
    there = sum(map(len, waiting.values()))
    if there < count:
        raise ValueError(
            f"these sets have {there} pairs of pictures with nothing in common; {count} were asked "
            "for. Give more sets."
        )
    drawn = []
    while len(drawn) < count:
        sets = [names for names, rest in waiting.items() if rest]
        for k in rng.permutation(len(sets))[: count - len(drawn)]:
            (set0, set1), flip = sets[k], rng.integers(2)
            images = waiting[set0, set1].pop()
            names = (set1, set0) if flip else (set0, set1)
            drawn.append(Pictures(*names, *(images[::-1] if flip else images)))
    return drawn


def record_of(match: MatchFunction, pictures: Pictures) -> PlaceRecord:
    """Matches one pair, without intrinsics. Raises what reading or matching raises."""
    images = (load_image(path, SIZE)[0] for path in (pictures.image0, pictures.image1))
    found = checked_matches(match(*images)).sorted()
    return PlaceRecord(
        name=pictures.name,
        set0=pictures.set0,
        set1=pictures.set1,
        evidence=tuple(
            pair_score.evidence(found.points0, found.points1, found.confidence).tolist()
        ),
        matches=len(found),
        inliers=inliers_of(found),
    )


def inliers_of(found: FoundMatches) -> int:
    """How many matches agree on the best fundamental matrix; 0 where there is none."""
    if len(found) < 8:
        return 0
    _, said = poselib.estimate_fundamental(found.points0, found.points1, RANSAC, {})
    return int(said["num_inliers"])


def records_of(
    match: MatchFunction,
    drawn: Sequence[Pictures],
    settings: dict,
    partial: str | os.PathLike | None = None,
) -> Iterator[PlaceRecord]:
    """The record of every pair, in order.

    settings: of the matcher, fit for JSON. partial: a file of JSON lines that records are appended
    to, and taken from; of other settings it is refused.
    """
    file = None if partial is None else pathlib.Path(partial)
    known = {} if file is None else _begun(file, settings)
    for pictures in drawn:
        record = known.get(pictures.name)
        if record is None:
            record = record_of(match, pictures)
            if file is not None:
                with open(file, "a", encoding="utf-8") as lines:
                    lines.write(json.dumps(dataclasses.asdict(record)) + "\n")
        yield record


def _begun(file: pathlib.Path, settings: dict) -> dict[str, PlaceRecord]:
    """The records that a file holds, by name; it is made, with its header, where there is none."""
    stated = json.loads(json.dumps(settings))
    whole = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
    if not whole:
        file.write_text(json.dumps(stated) + "\n", encoding="utf-8")
        return {}
    try:
        header, *entries = map(json.loads, whole)
        records = [PlaceRecord(**x | {"evidence": tuple(x["evidence"])}) for x in entries]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is not the beginning of a study ({error}). Remove it.") from None
    if header != stated:
        raise ValueError(f"{file} was begun by another matcher. Remove it, or name another --out.")
    os.truncate(file, sum(len(line) + 1 for line in whole))  # a last line cut short by a kill
    return {record.name: record for record in records}


def read_records(path: str | os.PathLike) -> tuple[dict, list[PlaceRecord]]:
    """The settings and the records of a file that `astr eval places --out` wrote. Raises
    FileNotFoundError or ValueError."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        rows = [
            {name: value for name, value in x.items() if name != "score"} for x in held["pairs"]
        ]
        records = [PlaceRecord(**x | {"evidence": tuple(x["evidence"])}) for x in rows]
        return dict(held["settings"]), records
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is not what astr eval places --out writes ({error}).") from None


def chosen(
    pairs: Sequence[PlaceRecord | Pictures],
    sets: Sequence[str] | None,
    without: Sequence[str] | None,
) -> list:
    """The pairs whose pictures are both of `sets`, None for all; and not both of `without`. So
    what is fitted to some sets is judged on the pairs without these."""
    return [
        pair
        for pair in pairs
        if (sets is None or {pair.set0, pair.set1} <= {*sets})
        and not (without is not None and {pair.set0, pair.set1} <= {*without})
    ]


def fitted(evidence: Float[np.ndarray, "k e"], same: Bool[np.ndarray, " k"]) -> tuple[float, ...]:
    """The constants of a pair score: the weight of each part of the evidence, and what is added.

    Logistic regression, both kinds of pairs counting alike, drawn to 0 a little so that no weight
    is without end where a line parts the pairs. Newton's steps.
    """
    x = np.concatenate([evidence, np.ones((len(evidence), 1))], axis=1)
    share = np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())
    weights = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ weights))
        slope = x.T @ (share * (p - same)) + RIDGE * weights
        curve = (x * (share * p * (1 - p))[:, None]).T @ x + RIDGE * np.eye(len(weights))
        weights = weights - np.linalg.solve(curve, slope)
    return tuple(weights.tolist())
