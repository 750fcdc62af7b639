"""What calibrates a matcher, found on pairs with known geometry.

The temperature is the one that makes the negative log-likelihood of right and wrong least. That is
a proper score: it is least for true probabilities, needs no bins, and is not to be had by one
confidence for all. The expected calibration error is none of this. The matches are the same at
every temperature: all mutual ones at the weights' own, the improbable ones too. Else a temperature
could do well by losing the hard ones.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from astr_jax.evaluation.benchmarks.pairs import Pair
from astr_jax.evaluation.benchmarks.resizing import LoadedPair
from astr_jax.evaluation.reports.records import PairRecord
from astr_jax.evaluation.scores import metrics
from astr_jax.evaluation.scores.calibration import (
    expected_calibration_error,
    pooled,
    sigma_factor,
)
from astr_jax.evaluation.scores.found import FoundMatches
from astr_jax.evaluation.scores.kinds import KINDS, kind_of
from astr_jax.evaluation.scores.pair_kind import PairKind
from astr_jax.evaluation.scores.scoring import right_matches, score_pair

TEMPERATURES = 2.0 ** np.arange(-2, 2.01, 0.25)  # at which log P is computed; times the model's
STEPS_BETWEEN = 8  # further ones, to which log P is interpolated
THRESHOLDS = tuple(k / 20 for k in range(1, 19))  # 0.05 to 0.9
NEIGHBOURS = 2  # thresholds on each side: on a few dozen pairs the areas of one differ by chance
EQUAL = 0.01  # of an area: what a few dozen pairs cannot tell apart
SURE = 1e-6  # no confidence counts as nearer to 0 or 1, so that one match cannot decide


@dataclasses.dataclass(frozen=True, kw_only=True)
class JudgedCandidates:
    """All mutual matches of one pair, and log P of each at TEMPERATURES."""

    pair: Pair
    given: LoadedPair
    found: FoundMatches
    log_confidence: Float[np.ndarray, "t k"]
    right: Bool[np.ndarray, " k"]

    @classmethod
    def of(
        cls,
        pair: Pair,
        given: LoadedPair,
        found: FoundMatches,
        log_confidence: Float[np.ndarray, "t k"],
    ) -> "JudgedCandidates":
        right = right_matches(found, given)
        return cls(pair=pair, given=given, found=found, log_confidence=log_confidence, right=right)

    def at(self, temperature: float, threshold: float) -> FoundMatches:
        """Those above the threshold, with their confidence at a temperature."""
        confidence = np.exp(np.minimum(interpolated(self.log_confidence, temperature), 0.0))
        return dataclasses.replace(self.found, confidence=confidence)[confidence > threshold]


def interpolated(
    log_confidence: Float[np.ndarray, "t k"], temperature: float
) -> Float[np.ndarray, " k"]:
    """log P at a temperature between those of TEMPERATURES, linear in log temperature."""
    places = np.arange(len(TEMPERATURES))
    place = np.interp(np.log(temperature), np.log(TEMPERATURES), places)
    low = min(int(place), len(TEMPERATURES) - 2)
    return log_confidence[low] + (place - low) * (log_confidence[low + 1] - log_confidence[low])


def negative_log_likelihood(
    log_confidence: Float[np.ndarray, " k"], right: Bool[np.ndarray, " k"]
) -> float:
    """The mean over matches, in nats."""
    p = np.clip(np.exp(log_confidence.astype(np.float64)), SURE, 1 - SURE)
    return float(-np.log(np.where(right, p, 1 - p)).mean())


def fit_temperature(candidates: Sequence[JudgedCandidates]) -> float:
    """The temperature of the least negative log-likelihood."""
    log_confidence = np.concatenate([c.log_confidence for c in candidates], axis=1)
    right = np.concatenate([c.right for c in candidates])
    if right.all() or not right.any():
        raise ValueError(
            f"of {right.size} matches {right.sum()} are right: a temperature needs right and wrong "
            "ones. Calibrate on more pairs."
        )
    steps = STEPS_BETWEEN * (len(TEMPERATURES) - 1) + 1
    grid = np.geomspace(TEMPERATURES[0], TEMPERATURES[-1], steps)
    return min(
        grid.tolist(), key=lambda t: negative_log_likelihood(interpolated(log_confidence, t), right)
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """Of some pairs at one calibration. Shares and areas lie in [0, 1]."""

    calibration_error: float  # expected; nan without matches
    sigma_fit: float | None  # what sigma must still be multiplied by; None where none can tell
    precision: float  # the mean share of right matches of a pair
    num_matches: float  # of a pair, the median
    auc: float  # of poses, or of homographies where no pair has a pose; the mean of seeds


def judged_kind(kinds: Sequence[PairKind]) -> PairKind:
    """The kind of pairs whose errors decide on the threshold: poses, where there are some."""
    return next(kind for kind in KINDS if kind in kinds)


def score_of(records: Sequence[PairRecord]) -> Score:
    """All pairs count alike, whatever their sets."""
    kind = judged_kind([record.kind for record in records])
    errors = np.array([r.errors[kind.judge] for r in records if r.kind == kind])  # [p seeds]
    bins = pooled(record.confidence_bins for record in records)
    empty = bins is None or not bins["matches"].any()
    return Score(
        calibration_error=float("nan") if empty else expected_calibration_error(bins),
        sigma_fit=fit_sigma(records),
        precision=float(np.mean([r.precision[r.kind.right_share] for r in records])),
        num_matches=float(np.median([r.num_matches for r in records])),
        auc=float(np.mean([metrics.error_auc(e, [kind.solved])[0] for e in errors.T])),
    )


def fit_sigma(records: Sequence[PairRecord]) -> float | None:
    """What sigma must be multiplied by; of both kinds of pairs the geometric mean over matches."""
    factors, weights = [], []
    for kind in KINDS:
        histogram = pooled(r.sigma_bins for r in records if r.kind == kind)
        factor = None if histogram is None else sigma_factor(histogram, kind.median_of_sigma_1)
        if factor is not None:
            factors.append(factor)
            weights.append(histogram["counts"].sum())
    return float(np.exp(np.average(np.log(factors), weights=weights))) if factors else None


def records_at(
    candidates: Sequence[JudgedCandidates],
    temperature: float,
    threshold: float,
    seeds: Sequence[int],
) -> list[PairRecord]:
    """What the candidates above a threshold are worth."""
    records = []
    for c in candidates:
        found, kind = c.at(temperature, threshold), kind_of(c.pair)
        records.append(
            PairRecord(
                set=c.pair.set,
                name=c.pair.name,
                kind=kind,
                checked=c.pair.checked,
                num_matches=len(found),
                seconds=0.0,
                **score_pair(found, c.given, (kind.judge,), seeds),
            )
        )
    return records


def best_threshold(scores: dict[float, Score]) -> float:
    """The highest threshold whose mean area with its neighbours lies within EQUAL of the largest.

    So of what poses cannot tell apart it is the most precise. scores: in growing order of the
    threshold; the ends of the list repeat.
    """
    areas = np.pad([score.auc for score in scores.values()], NEIGHBOURS, mode="edge")
    means = np.convolve(areas, np.ones(2 * NEIGHBOURS + 1) / (2 * NEIGHBOURS + 1), mode="valid")
    return list(scores)[np.flatnonzero(means >= means.max() - EQUAL)[-1]]
