"""Do confidence and sigma mean what they say? Histograms of one pair's matches, and their sums.

A histogram has one number per bin in each of its rows:
  matches   how many
  right     how many of them are right
  claimed   the sum of their confidences; of sigma: of the squared sigmas of the right ones
  squares   of sigma alone: the sum of the squared true errors of the right ones
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float

CONFIDENCE_EDGES = np.linspace(0.0, 1.0, 11)
SIGMA_EDGES = np.array([0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, np.inf])  # pixels

Histogram = dict[str, list[float]]


def confidence_histogram(
    confidence: Float[np.ndarray, " k"], right: Bool[np.ndarray, " k"]
) -> Histogram | None:
    """None where some confidence is no probability: not in [0, 1]."""
    if not ((confidence >= 0) & (confidence <= 1)).all():
        return None
    return _histogram(confidence, CONFIDENCE_EDGES, right, claimed=confidence)


def sigma_histogram(
    sigma: Float[np.ndarray, " k"],
    squared_error: Float[np.ndarray, " k"],
    right: Bool[np.ndarray, " k"],
) -> Histogram | None:
    """Wrong matches are counted, but take no part in the sums: sigma speaks of the right ones.

    squared_error: of one axis, as sigma is. None where some sigma is negative or no number.
    """
    if not (sigma >= 0).all():
        return None
    kept = np.where(right, squared_error, 0.0)
    squares = np.where(right, np.square(sigma), 0.0)
    return _histogram(sigma, SIGMA_EDGES, right, claimed=squares, squares=kept)


def _histogram(values, edges, right, **sums) -> Histogram:
    count = len(edges) - 1
    bin_of = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, count - 1)

    def total(weights=None):
        return np.bincount(bin_of, weights, minlength=count)

    rows = {name: [round(float(s), 6) for s in total(weights)] for name, weights in sums.items()}
    return {"matches": total().tolist(), "right": total(right).astype(int).tolist()} | rows


def pooled(histograms: Iterable[Histogram | None]) -> dict[str, np.ndarray] | None:
    """The sum of histograms, without those that are None; None where none is left."""
    known = [histogram for histogram in histograms if histogram is not None]
    if not known:
        return None
    return {name: np.sum([h[name] for h in known], axis=0, dtype=float) for name in known[0]}


def expected_calibration_error(histogram: dict[str, np.ndarray]) -> float:
    """The mean over matches of |share of right ones - mean confidence| of their bin."""
    gap = np.abs(np.subtract(histogram["right"], histogram["claimed"]))
    return float(gap.sum() / max(np.sum(histogram["matches"]), 1))
