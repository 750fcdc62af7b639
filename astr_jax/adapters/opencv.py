"""OpenCV: matches as cv2.KeyPoint and cv2.DMatch, and as arrays for its estimators.

    keypoints0, keypoints1, matches = to_opencv(found)
    cv2.drawMatches(image0, keypoints0, image1, keypoints1, matches, None)
    H, inliers = cv2.findHomography(*to_points(found.finest_first()), cv2.USAC_MAGSAC, 3.0)

Both packages put the centre of the top-left pixel at (0, 0), and both turn a file by its EXIF tag.
"""

import cv2
import numpy as np
from jaxtyping import Float

from astr_jax.ops.grids import COARSE_STRIDE
from astr_jax.types import Matches

CELL = float(COARSE_STRIDE)  # pixels: the side of a coarse cell


def to_opencv(
    matches: Matches, *, size: float = CELL
) -> tuple[list[cv2.KeyPoint], list[cv2.KeyPoint], list[cv2.DMatch]]:
    """Keypoints of both images and their matches: row i of all three is match i of one pair.

    A keypoint's size, a diameter in pixels, is `size` in image 0 and as many times larger in image
    1 as things look there; its response is the confidence. A match's distance is 1 - confidence,
    in [0, 1]: smaller is better.
    """
    found = matches.compact()
    sizes = size * np.stack([np.ones_like(found.scale), found.scale])
    keypoints0, keypoints1 = (
        [
            cv2.KeyPoint(x, y, diameter, response=response)
            for (x, y), diameter, response in zip(
                points.tolist(), diameters.tolist(), found.confidence.tolist(), strict=True
            )
        ]
        for points, diameters in zip(to_points(found), sizes, strict=True)
    )
    distances = (1 - found.confidence).tolist()
    pairs = [cv2.DMatch(row, row, 0, distance) for row, distance in enumerate(distances)]
    return keypoints0, keypoints1, pairs


def to_points(
    matches: Matches,
) -> tuple[Float[np.ndarray, "k 2"], Float[np.ndarray, "k 2"]]:
    """Points of both images, float32, as findHomography, findFundamentalMat and USAC take them.

    The order of the matches stays: give `matches.finest_first()` to those that draw by it (PROSAC).
    """
    found = matches.compact()
    return tuple(
        np.ascontiguousarray(points, np.float32) for points in (found.keypoints0, found.keypoints1)
    )
