"""Scores of pairs that are drawn again: what another choice of pairs might have given.

Pairs of a sequence or a scan hang together, so whole clusters are drawn, with replacement and as
many as there are. All pairs of a drawn cluster come along. A draw is a row of weights: how often
each pair is in it. The number of pairs in a draw varies with the sizes of the clusters.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from astr_jax.evaluation.reports.records import PairRecord
from astr_jax.evaluation.scores.pair_kind import PairKind

BLOCK = 2_000_000  # weights at once, so that memory does not grow with the number of draws


def number_clusters(names: Sequence[str]) -> Int[np.ndarray, " n"]:
    """The number of each pair's cluster, by order of appearance; "" is a cluster of its own."""
    numbers: dict[str | int, int] = {}
    return np.array([numbers.setdefault(name or i, len(numbers)) for i, name in enumerate(names)])


def draw_weights(
    clusters: Int[np.ndarray, " n"], draws: int, rng: np.random.Generator
) -> Iterator[Float[np.ndarray, "r n"]]:
    """How often each pair is drawn: one row per draw, in blocks of rows."""
    count = int(clusters.max()) + 1
    at_once = max(1, BLOCK // len(clusters))
    for begin in range(0, draws, at_once):
        rows = min(at_once, draws - begin)
        drawn = rng.integers(0, count, (rows, count)) + count * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        yield times[:, clusters].astype(np.float64)


def weighted_mean(
    values: Float[np.ndarray, "n s"], weights: Float[np.ndarray, "r n"]
) -> Float[np.ndarray, "r s"]:
    """The mean of the drawn pairs' values."""
    return weights @ values / weights.sum(axis=1, keepdims=True)


def weighted_auc(
    errors: Float[np.ndarray, " n"], thresholds: Sequence[float], weights: Float[np.ndarray, "r n"]
) -> Float[np.ndarray, "r t"]:
    """metrics.error_auc of the drawn errors, each as often as it is drawn, for all draws at once.

    Of m drawn errors, each e below the threshold t lifts the curve by 1/m from e to t. That adds
    (t - e) / m. The slopes up to the errors add triangles: half of the largest e below t, over m,
    in all.
    """
    limits = np.asarray(thresholds, np.float64)
    areas = weighted_mean(np.maximum(limits - errors[:, None], 0.0), weights)
    last_first = np.argsort(errors)[::-1]
    drawn = weights[:, last_first] > 0
    # The last column stands for no error below t.
    drawn = np.concatenate([drawn, np.ones((len(weights), 1), bool)], axis=1)
    ordered = np.append(errors[last_first], 0.0)
    for column, limit in enumerate(limits):
        begin = int(np.count_nonzero(errors >= limit))
        largest = ordered[begin + drawn[:, begin:].argmax(axis=1)]
        areas[:, column] += largest / 2 / weights.sum(axis=1)
    return areas / limits


def _scorer(
    kind: PairKind,
    records: Sequence[PairRecord],
    estimators: Sequence[str],
    shares: Sequence[str],
):
    """A function from weights [r n] of the records to all scores [r scores]."""
    errors = [np.array([r.errors[name] for r in records]).T for name in estimators]  # [seeds n]
    right = np.array([[r.precision[name] for name in shares] for r in records])  # [n shares]

    def scores(weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, "r scores"]:
        areas = [
            np.mean([weighted_auc(seed, kind.thresholds, weights) for seed in seeds], axis=0)
            for seeds in errors
        ]
        return np.concatenate([*areas, weighted_mean(right, weights)], axis=1)

    return scores


def resampled_scores(
    kind: PairKind,
    pairs: Sequence[tuple[PairRecord, PairRecord]],
    estimators: Sequence[str],
    shares: Sequence[str],
    draws: int,
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, " s"], Float[np.ndarray, " s"], Float[np.ndarray, "r s"]]:
    """The scores of A's records and of B's, and B - A in every draw; nan for one cluster alone.

    Scores are the areas of each estimator at each threshold, by their mean over seeds, then the
    shares. Both reports get the same draws.
    """
    a, b = (_scorer(kind, side, estimators, shares) for side in zip(*pairs, strict=True))
    clusters = number_clusters([first.cluster for first, _ in pairs])  # of the pair, not the report
    drawn = np.concatenate([b(w) - a(w) for w in draw_weights(clusters, draws, rng)])
    if clusters.max() == 0:  # every draw is the same
        drawn[:] = np.nan
    all_once = np.ones((1, len(pairs)))
    return a(all_once)[0], b(all_once)[0], drawn
