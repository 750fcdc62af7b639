"""What makes a pair hard, by its truth alone: overlap, scale ratio and rotation."""

import numpy as np
from jaxtyping import Float

from astr_jax.geometry import warp_points

SAMPLES = 32  # of a side of image 0, by which overlap is measured


def rotation_about_axis(matrix: Float[np.ndarray, "r c"]) -> float:
    """The part of a rotation [3 3] about its third axis, or of a Jacobian [2 2], in degrees."""
    return float(np.degrees(np.arctan2(matrix[1, 0] - matrix[0, 1], matrix[0, 0] + matrix[1, 1])))


def geometry_of_homography(
    homography: Float[np.ndarray, "3 3"], size0: tuple[int, int], size1: tuple[int, int]
) -> dict[str, float | None]:
    """Overlap, scale ratio and rotation of a homography from image 0 to image 1; sizes are (h, w).

    Overlap is the share of image 0 that lies in image 1. The scale ratio (above 1: larger in image
    1) and the rotation in degrees are those at the centre of image 0. They are None where that goes
    to infinity.
    """
    x, y = np.meshgrid(*(np.linspace(0, side - 1, SAMPLES) for side in size0[::-1]))
    there = warp_points(homography, np.stack([x.ravel(), y.ravel()], axis=1))
    inside = (there >= 0) & (there <= np.array(size1[::-1]) - 1)
    known = {"overlap": float(inside.all(axis=1).mean()), "scale_ratio": None, "rotation": None}
    x, y, depth = homography @ np.array([(size0[1] - 1) / 2, (size0[0] - 1) / 2, 1.0])
    if abs(depth) < 1e-9 * np.abs(homography).max():
        return known
    jacobian = (homography[:2, :2] - np.outer([x / depth, y / depth], homography[2, :2])) / depth
    scale = float(np.sqrt(abs(np.linalg.det(jacobian))))
    return known | {"scale_ratio": scale, "rotation": rotation_about_axis(jacobian)}
