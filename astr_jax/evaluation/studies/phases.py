"""Is a matcher right wherever the truth lies between the cells of its grid, and at every scale?

A photograph is matched with itself, moved by whole pixels (all 8 x 8 phases of a grid of stride 8),
and with itself made smaller or larger. Each picture has the noise of a sensor, drawn apart: without
it both agree exactly, and no error is there to hold against sigma. Nothing else differs: what
changes along the map is the matcher's own.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from astr_jax.evaluation.matchers.named import NamedMatcher
from astr_jax.evaluation.scores.found import checked_matches
from astr_jax.geometry import resize_matrix, warp_points

PERIOD = 8  # pixels: the stride of the coarse grid
SCALES = tuple(2 ** (k / 2) for k in range(-4, 5))  # of image 1 over image 0
NOISE = 2.0  # grey values of 255, standard deviation
NEAR, RIGHT = 1.5, 3.0  # pixels of image 1, or of image 0 where that is the larger
Image = UInt8[np.ndarray, "h w"]


class Case(NamedTuple):
    """Image 1 is image 0 moved by (x, y) pixels, or scaled."""

    shift: tuple[int, int]
    scale: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhaseScore:
    """What a matcher made of one case. Errors are of keypoints1, in pixels of image 1."""

    matches: int
    right: float  # share within RIGHT px; 0 without matches
    near: float  # share within NEAR px
    bias: tuple[float, float]  # the median error of x and y; NaN without matches
    spread: tuple[float, float]  # 1.4826 x the median distance from it
    within_sigma: float  # share of the errors of right matches, per axis; NaN without sigma


def cases() -> list[Case]:
    """All phases, then the scales but 1."""
    line = range(PERIOD)
    shifts = [Case((x, y), 1.0) for y, x in itertools.product(line, line)]
    return shifts + [Case((0, 0), scale) for scale in SCALES if scale != 1]


def pair_of(
    photo: Image, case: Case
) -> tuple[UInt8[np.ndarray, "h0 w0"], UInt8[np.ndarray, "h1 w1"], Float[np.ndarray, "3 3"]]:
    """Both images, and the homography from pixels of image 0 to pixels of image 1.

    Moved images are cut out of the photograph. Of two scales the larger one is the photograph.
    """
    (x, y), (height, width) = case.shift, (side - PERIOD for side in photo.shape)
    if case.scale == 1:
        truth = np.eye(3)
        truth[:2, 2] = -x, -y
        return photo[:height, :width], photo[y : y + height, x : x + width], truth
    image = photo[:height, :width]
    shrink = min(case.scale, 1 / case.scale)
    small = round(height * shrink), round(width * shrink)
    shrunk = cv2.resize(image, small[::-1], interpolation=cv2.INTER_AREA)
    truth = resize_matrix(image.shape, small)
    if case.scale < 1:
        return image, shrunk, truth
    return shrunk, image, np.linalg.inv(truth)


def with_noise(image: Image, noise: float, rng: np.random.Generator) -> Image:
    """The picture, each pixel off by white noise of this standard deviation, in grey values."""
    return np.clip(np.rint(image + noise * rng.standard_normal(image.shape)), 0, 255).astype(
        "uint8"
    )


def score(matcher: NamedMatcher, photo: Image, case: Case, noise: float = 0.0) -> PhaseScore:
    """Matches one case. noise: of either picture, as of with_noise; the same for every matcher."""
    image0, image1, truth = pair_of(photo, case)
    rng = np.random.default_rng([*case.shift, round(1000 * case.scale)])
    image0, image1 = (with_noise(image, noise, rng) for image in (image0, image1))
    found = checked_matches(matcher.match(image0, image1))
    error = found.points1 - warp_points(truth, found.points0)
    nothing = float("nan"), float("nan")
    if not len(found):
        return PhaseScore(
            matches=0, right=0.0, near=0.0, bias=nothing, spread=nothing, within_sigma=nothing[0]
        )
    distance = np.linalg.norm(error, axis=1) / max(case.scale, 1.0)
    right = distance <= RIGHT
    bias = np.median(error, axis=0)
    spread = 1.4826 * np.median(np.abs(error - bias), axis=0)
    within = float("nan")
    if found.sigma is not None and right.any():
        within = float((np.abs(error[right]) <= found.sigma[right, None]).mean())
    return PhaseScore(
        matches=len(found),
        right=float(right.mean()),
        near=float((distance <= NEAR).mean()),
        bias=tuple(bias.tolist()),
        spread=tuple(spread.tolist()),
        within_sigma=within,
    )


def score_all(
    matcher: NamedMatcher, photo: Image, noise: float = 0.0
) -> Iterator[tuple[Case, PhaseScore]]:
    """Every case of a photograph, in the order of cases()."""
    for case in cases():
        yield case, score(matcher, photo, case, noise)


def worst(scores: dict[Case, PhaseScore]) -> dict[str, float]:
    """The worst of all phases: matches against those of phase (0, 0), the least share within
    NEAR px, the largest absolute bias, and the ends of the share within one sigma."""
    moved = [score for case, score in scores.items() if case.scale == 1]
    still = scores[Case((0, 0), 1.0)]
    within = [score.within_sigma for score in moved]
    return {
        "matches": min(score.matches for score in moved) / max(still.matches, 1),
        "near": min(score.near for score in moved),
        "bias": max(float(np.abs(score.bias).max()) for score in moved),
        "least within sigma": min(within),
        "most within sigma": max(within),
    }
