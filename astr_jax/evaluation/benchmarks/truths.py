"""What is known of the two images of a pair: a pose between their cameras, or a homography.

Files spell them as in MATRICES. All points are in pixels, centres at whole numbers.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from astr_jax.geometry import rigid_pose


def wrong_intrinsics(K: Float[np.ndarray, "3 3"]) -> str:
    """What a camera's matrix must have and lacks; "" where it is one."""
    if not np.allclose(K[2], [0, 0, 1]) or not 0 < min(K[0, 0], K[1, 1]) < np.inf:
        return "must have positive focal lengths and a last row of 0 0 1"
    return ""


def wrong_pose(cam1_from_cam0: Float[np.ndarray, "4 4"]) -> str:
    """Likewise of a pose."""
    try:
        rigid_pose(cam1_from_cam0)
    except ValueError as error:
        return str(error).rstrip(".")
    return ""


def wrong_homography(homography: Float[np.ndarray, "3 3"]) -> str:
    """Likewise of a homography."""
    return "" if np.linalg.matrix_rank(homography) == 3 else "must have an inverse"


MATRICES = {  # by their names in files, in the order in which they are stated: shape, what is wrong
    "K0": ((3, 3), wrong_intrinsics),
    "K1": ((3, 3), wrong_intrinsics),
    "T_0to1": ((4, 4), wrong_pose),
    "H_0to1": ((3, 3), wrong_homography),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoseTruth:
    """Two cameras, and the pose between them."""

    K0: Float[np.ndarray, "3 3"]
    K1: Float[np.ndarray, "3 3"]
    cam1_from_cam0: Float[np.ndarray, "4 4"]  # translation up to scale

    @property
    def matrices(self) -> dict[str, np.ndarray]:
        """By their names in files."""
        return {"K0": self.K0, "K1": self.K1, "T_0to1": self.cam1_from_cam0}

    @property
    def cameras(self) -> dict[str, np.ndarray]:
        """What a matcher may know of it: its options K0 and K1."""
        return {"K0": self.K0, "K1": self.K1}

    def resized(
        self, resize0: Float[np.ndarray, "3 3"], resize1: Float[np.ndarray, "3 3"]
    ) -> "PoseTruth":
        """The same in pixels of resized images; resize0, resize1: from its pixels to those."""
        return dataclasses.replace(self, K0=resize0 @ self.K0, K1=resize1 @ self.K1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HomographyTruth:
    """A homography: pixels of image 0 to pixels of image 1. Of the cameras nothing is known."""

    homography: Float[np.ndarray, "3 3"]

    @property
    def matrices(self) -> dict[str, np.ndarray]:
        """By their names in files."""
        return {"H_0to1": self.homography}

    @property
    def cameras(self) -> dict[str, None]:
        """What a matcher may know of it: its options K0 and K1."""
        return {"K0": None, "K1": None}

    def resized(
        self, resize0: Float[np.ndarray, "3 3"], resize1: Float[np.ndarray, "3 3"]
    ) -> "HomographyTruth":
        """The same in pixels of resized images; resize0, resize1: from its pixels to those."""
        homography = resize1 @ self.homography @ np.linalg.inv(resize0)
        return dataclasses.replace(self, homography=homography)


PairTruth = PoseTruth | HomographyTruth


def wrong_truth(truth: PairTruth) -> str:
    """The first of its matrices that is none, in words; "" where all are."""
    for name, matrix in truth.matrices.items():
        _, wrong = MATRICES[name]
        if words := wrong(matrix):
            return f"{name} {words}; got {matrix.tolist()}."
    return ""
