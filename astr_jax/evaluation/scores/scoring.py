"""The scores of one pair's matches: errors of every estimator and seed, shares of right ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from astr_jax.evaluation.benchmarks.resizing import LoadedPair
from astr_jax.evaluation.scores.calibration import confidence_histogram, sigma_histogram
from astr_jax.evaluation.scores.found import FoundMatches
from astr_jax.evaluation.scores.kinds import kind_of


def right_matches(found: FoundMatches, given: LoadedPair) -> Bool[np.ndarray, " k"]:
    """Which matches are right, where confidence is judged."""
    kind = kind_of(given)
    return kind.offsets(found, given) < kind.right


def score_pair(
    found: FoundMatches,
    given: LoadedPair,
    names: Sequence[str],
    seeds: Sequence[int],
    *,
    poses_in_file_pixels: bool = False,
) -> dict[str, Any]:
    """Errors of the named estimators, shares of right matches and calibration of a pair.

    Returns the fields of a record. poses_in_file_pixels: as in Benchmark.
    """
    kind = kind_of(given)
    inputs = kind.estimator_inputs(found, given, poses_in_file_pixels=poses_in_file_pixels)
    estimators = {name: kind.find_estimator(name) for name in names}
    errors = {
        name: tuple(kind.error(estimate(*inputs, seed=seed), given) for seed in seeds)
        for name, estimate in estimators.items()
    }
    offsets = kind.offsets(found, given)
    shares = [share(offsets < threshold) for threshold in kind.share_thresholds]
    sigma = found.sigma
    return {
        "errors": errors,
        "precision": dict(zip(kind.share_names, shares, strict=True)),
        "confidence_bins": confidence_histogram(found.confidence, offsets < kind.right),
        "sigma_bins": None
        if sigma is None
        else sigma_histogram(sigma, kind.pixel_errors(found, given)),
    }


def share(right: Bool[np.ndarray, " k"]) -> float:
    """The share of right matches; 0 without matches."""
    return float(right.mean()) if len(right) else 0.0
