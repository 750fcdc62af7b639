"""Is the covariance of a match that of its error, and does its shape say more than its size?

Of right matches of pairs with a known homography. A covariance is judged by the likelihood of the
errors under it, against that under the round one of the same root mean.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from astr_jax.evaluation.reports.bootstrap import draw_weights
from astr_jax.evaluation.scores.homographies import RIGHT
from astr_jax.evaluation.studies.phases import NOISE, Image, with_noise
from astr_jax.evaluation.studies.sweeps import Change, make_view
from astr_jax.geometry import warp_points
from astr_jax.types import Matches

WITHIN = 0.6827  # of a normal distribution lies within one standard deviation
DRAWS = 2000
Interval = tuple[float, float, float]  # the value, and the ends of what holds 95 % of the draws


@dataclasses.dataclass(frozen=True, kw_only=True)
class RightMatches:
    """The matches of a pair that lie within RIGHT px of the truth; pixels of image 1."""

    error: Float[np.ndarray, "k 2"]
    covariance: Float[np.ndarray, "k 2 2"]

    @classmethod
    def of(cls, matches: Matches, homography: Float[np.ndarray, "3 3"]) -> "RightMatches":
        """matches: compact; homography: from pixels of image 0 to pixels of image 1."""
        error = matches.keypoints1 - warp_points(homography, matches.keypoints0)
        right = np.linalg.norm(error, axis=1) <= RIGHT
        covariance = np.asarray(matches.covariance, np.float64)
        return cls(error=np.asarray(error, np.float64)[right], covariance=covariance[right])

    @property
    def sigma(self) -> Float[np.ndarray, " k"]:
        """The root mean of both variances."""
        return np.sqrt(np.trace(self.covariance, axis1=1, axis2=2) / 2)


def seen_again(
    photos: Sequence[Image], seed: int
) -> Iterator[tuple[Image, Image, Float[np.ndarray, "3 3"]]]:
    """Each photograph, with noise; what another camera sees of it, in another light and with noise
    of its own; and the homography between them. Camera, light and noise are drawn by the seed."""
    for number, photo in enumerate(photos):
        rng = np.random.default_rng([seed, number])
        change = Change(
            view=rng.uniform(5, 40),
            rotation=rng.uniform(-20, 20),
            scale=rng.uniform(1, 1.6),
            light=rng.uniform(-0.7, 0.7),
            noise=rng.uniform(0.004, 0.016),
        )
        image1, homography = make_view(photo, photos[(number + 1) % len(photos)], change, rng)
        yield with_noise(photo, NOISE, rng), image1, homography


def log_likelihood(
    error: Float[np.ndarray, "k 2"], covariance: Float[np.ndarray, "k 2 2"]
) -> Float[np.ndarray, " k"]:
    """Of errors under normal distributions of mean 0, in nats."""
    square = np.einsum("ki,kij,kj->k", error, np.linalg.inv(covariance), error)
    return -(square + np.log(np.linalg.det(covariance))) / 2 - np.log(2 * np.pi)


def gain_of_shape(found: RightMatches) -> Float[np.ndarray, " k"]:
    """How much likelier each error is than under the round covariance, nats."""
    even = found.sigma[:, None, None] ** 2 * np.eye(2)
    return log_likelihood(found.error, found.covariance) - log_likelihood(found.error, even)


def within_sigma(found: RightMatches) -> Float[np.ndarray, " k"]:
    """The share of both axes on which the error is at most sigma."""
    return (np.abs(found.error) <= found.sigma[:, None]).mean(axis=1)


def variance_factor(pairs: Sequence[RightMatches]) -> float:
    """What the covariances must be multiplied by, so that WITHIN of the errors are within sigma."""
    ratios = np.concatenate([np.abs(p.error) / p.sigma[:, None] for p in pairs])
    return float(np.quantile(ratios, WITHIN) ** 2)


def mean_over(pairs: Sequence[RightMatches], value_of) -> Interval:
    """The mean over all matches of value_of(pair) [k]; 95 % of the bootstrap over pairs."""
    values = [value_of(pair) for pair in pairs]
    sums, counts = (np.array([f(v) for v in values], float) for f in (np.sum, np.size))
    rng = np.random.default_rng(0)
    weights = np.concatenate(list(draw_weights(np.arange(len(pairs)), DRAWS, rng)))
    low, high = np.quantile((weights @ sums) / np.maximum(weights @ counts, 1), [0.025, 0.975])
    return float(sums.sum() / counts.sum()), float(low), float(high)
