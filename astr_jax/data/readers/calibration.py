"""What every reader checks of a camera: that it is of the picture, and that its pose is one."""

import os

import numpy as np
from jaxtyping import Float

from astr_jax.data.readers.bad_files import UnreadableFile
from astr_jax.geometry import FAR, rigid_pose

ROUNDING = 1.0  # pixels: of a side of a picture that was shrunk as a whole
LEAST_INSIDE = 0.05  # of a side: so far from the border a principal point lies, at least


def checked_pose(pose, name: str | os.PathLike) -> Float[np.ndarray, "4 4"]:
    """`rigid_pose` of a file, which is named. Raises UnreadableFile."""
    try:
        return rigid_pose(pose)
    except ValueError as error:
        raise UnreadableFile(name, f"the pose {error}".rstrip(".")) from None


def checked_intrinsics(K, name: str | os.PathLike) -> Float[np.ndarray, "3 3"]:
    """K of a file, which is named: finite, with focal lengths above 0 and a last row of 0 0 1.
    Raises UnreadableFile."""
    try:
        K = np.array(K, float)
        good = K.shape == (3, 3) and (np.abs(K) < FAR).all() and min(K[0, 0], K[1, 1]) > 0
        good = good and np.allclose(K[2], [0, 0, 1]) and np.allclose(K[1, 0], 0)
    except (ValueError, TypeError, OverflowError):
        good = False
    if not good:
        text = K.tolist() if isinstance(K, np.ndarray) else K
        raise UnreadableFile(
            name,
            "its K must be [3 3], finite, with focal lengths above 0 over a last row of 0 0 1; "
            f"got {text}",
        )
    return K


def size_scale(
    calibrated: tuple[int, int], picture: tuple[int, int], name: str | os.PathLike
) -> tuple[float, float]:
    """How many times larger (x, y) the picture is that a camera is calibrated for; both (h, w).

    (1, 1) where it is the picture itself. Raises UnreadableFile where no shrinking (or enlarging)
    of the whole picture, to the rounding of its sides, leads from one to the other: it was cropped,
    turned or stretched, and the camera is not of it.
    """
    (h0, w0), (h, w) = calibrated, picture
    least = max((h - ROUNDING) / h0, (w - ROUNDING) / w0)
    most = min((h + ROUNDING) / h0, (w + ROUNDING) / w0)
    if least > most:
        turned = " It lies turned against its camera." if (h < w) != (h0 < w0) else ""
        raise UnreadableFile(
            name,
            f"its camera is calibrated for {w0} x {h0} pixels; the picture has {w} x {h}, which is "
            f"no other size of the same.{turned} Give the pictures that the cameras are of",
        )
    return w0 / w, h0 / h


def check_principal_point(
    K: Float[np.ndarray, "3 3"], picture: tuple[int, int], name: str | os.PathLike
) -> None:
    """Where the size that K is of is not known, K must point well into the picture (h, w): of one
    that was shrunk to a half it points at the corner. Raises UnreadableFile."""
    height, width = picture
    x, y = (K[0, 2] + 0.5) / width, (K[1, 2] + 0.5) / height
    if not all(LEAST_INSIDE <= share <= 1 - LEAST_INSIDE for share in (x, y)):
        raise UnreadableFile(
            name,
            f"the principal point of its K, ({K[0, 2]:.6g}, {K[1, 2]:.6g}), is not within the "
            f"picture of {width} x {height}: K is of another size of it",
        )
