"""Do confidence and sigma mean what they say? Histograms of one pair's matches, and their sums.

Of confidence, a number per bin:
  matches   how many
  right     how many of them are right
  claimed   the sum of their confidences
Of sigma, of all matches, right or wrong; true errors have the same edges:
  sigma     the sum of the sigmas of each bin
  counts    [s e]: of each bin of sigma (rows), how many in each bin of the true error

Sigma is judged by medians, so that nothing has to say which matches are right. Of each bin of sigma
the median error is held against the one that sigma claims. Errors beyond the last finite edge are
left out: most wrong coarse matches lie there.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float

CONFIDENCE_EDGES = np.linspace(0.0, 1.0, 11)
SUBPIXEL_EDGES = (0, 1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4)
SIGMA_EDGES = np.array([*SUBPIXEL_EDGES, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, np.inf])  # pixels
LARGEST_SIGMA = 8.0  # that is judged: of larger ones too many errors lie beyond the last edge

Histogram = dict[str, list]


def confidence_histogram(
    confidence: Float[np.ndarray, " k"], right: Bool[np.ndarray, " k"]
) -> Histogram | None:
    """None where some confidence is no probability: not in [0, 1]."""
    if not ((confidence >= 0) & (confidence <= 1)).all():
        return None
    bins, count = _bin_of(confidence, CONFIDENCE_EDGES), len(CONFIDENCE_EDGES) - 1
    return {
        "matches": np.bincount(bins, minlength=count).tolist(),
        "right": np.bincount(bins[right], minlength=count).tolist(),
        "claimed": np.bincount(bins, confidence, minlength=count).round(6).tolist(),
    }


def sigma_histogram(
    sigma: Float[np.ndarray, " k"], error: Float[np.ndarray, " k"]
) -> Histogram | None:
    """None where some sigma is negative or no number.

    error: the distance from the truth in pixels, inf or nan where there is none; of poses the
    Sampson distance.
    """
    if not (sigma >= 0).all():
        return None
    bins, side = _bin_of(sigma, SIGMA_EDGES), len(SIGMA_EDGES) - 1
    cells = bins * side + _bin_of(error, SIGMA_EDGES)
    return {
        "sigma": np.bincount(bins, sigma, minlength=side).round(6).tolist(),
        "counts": np.bincount(cells, minlength=side * side).reshape(side, side).tolist(),
    }


def _bin_of(values: Float[np.ndarray, " k"], edges: Float[np.ndarray, " e"]):
    """The bin of each value; of nan the last."""
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)


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


def median_errors(
    histogram: dict[str, np.ndarray], fewest: int = 1
) -> tuple[Float[np.ndarray, " j"], Float[np.ndarray, " j"], Float[np.ndarray, " j"]]:
    """Mean sigma, median error and number of matches of each bin up to LARGEST_SIGMA.

    Errors beyond the last finite edge are left out, then bins of fewer than `fewest` matches. A
    median is interpolated within its bin.
    """
    counts, edges = np.asarray(histogram["counts"]), SIGMA_EDGES[:-1]
    near = counts[:, :-1].sum(axis=1)
    judged = (near >= fewest) & (SIGMA_EDGES[1:] <= LARGEST_SIGMA)
    sigma = np.asarray(histogram["sigma"])[judged] / counts[judged].sum(axis=1)
    below = [np.r_[0, row.cumsum()] for row in counts[judged, :-1]]  # of each edge
    median = [np.interp(row[-1] / 2, row, edges) for row in below]
    return sigma, np.array(median), near[judged]


def sigma_factor(histogram: dict[str, np.ndarray], median_of_sigma_1: float) -> float | None:
    """What sigma must be multiplied by to fit the errors; None where no match can tell.

    median_of_sigma_1: the median error in pixels that a sigma of 1 px claims. The factor is the
    geometric mean over matches of their bin's median error over the claimed one. So it says how far
    the curve of medians lies above the claimed line, on average, both axes logarithmic.
    """
    sigma, median, near = median_errors(histogram)
    known = sigma > 0
    if not known.any():
        return None
    ratio = median[known] / (median_of_sigma_1 * sigma[known])
    return float(np.exp(np.average(np.log(ratio), weights=near[known])))
