"""Pixels, cameras and poses in NumPy: the one place that knows how they follow an image.

Points are (x, y) pixels, pixel centres at whole numbers, (0, 0) the centre of the top-left pixel.
K [3 3] takes rays to pixels. `cam1_from_cam0` [4 4] takes points of camera 0 to camera 1. Sizes are
(height, width). What runs compiled is in `astr_jax.ops.geometry`.

An image resized by a (new / old size, per axis) has its pixel x at (x + 0.5) a - 0.5. A turn is a
number of quarter turns anticlockwise, as in np.rot90.
"""

import numpy as np
from jaxtyping import Float, Real

FAR = 1e9  # pixels, and units of a translation: what lies beyond counts as infinite
ROTATION_TOLERANCE = 0.01  # of R^T R from 1, as files with few digits have it
_HALF = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # a half pixel on, per axis


def resize_matrix(old: tuple[int, int], new: tuple[int, int]) -> Float[np.ndarray, "3 3"]:
    """From pixels of an image of the old size to pixels of the same image at the new size."""
    a, b = new[1] / old[1], new[0] / old[0]
    return np.array([[a, 0, 0.5 * a - 0.5], [0, b, 0.5 * b - 0.5], [0, 0, 1]])


def enlarged_points(
    points: Real[np.ndarray, "*b 2"], scale: tuple[float, float]
) -> Float[np.ndarray, "*b 2"]:
    """Points of an image in pixels of one that is `scale` (x, y) times larger."""
    return (np.asarray(points, float) + 0.5) * np.asarray(scale) - 0.5


def shrunk_points(
    points: Real[np.ndarray, "*b 2"], scale: tuple[float, float]
) -> Float[np.ndarray, "*b 2"]:
    """Points of an image in pixels of one that is `scale` (x, y) times smaller."""
    return (np.asarray(points, float) + 0.5) / np.asarray(scale) - 0.5


def shrunk_intrinsics(
    K: Float[np.ndarray, "*b 3 3"], scale: tuple[float, float]
) -> Float[np.ndarray, "*b 3 3"]:
    """K for an image `scale` (x, y) times smaller."""
    return np.linalg.inv(_HALF) @ np.diag([1 / scale[0], 1 / scale[1], 1.0]) @ _HALF @ K


def turned_shape(shape: tuple[int, int], turn: float) -> tuple[int, int]:
    """Height and width of an image of that shape after so many quarter turns anticlockwise.

    Between two quarters the corners are cut off: the picture is a square of the longer side.
    """
    if turn % 1:
        return max(shape), max(shape)
    return shape[::-1] if turn % 2 else shape


def turned_back(shape: tuple[int, int], turn: float) -> Float[np.ndarray, "3 3"]:
    """From pixels of an image after so many quarter turns anticlockwise to pixels of it before.

    shape: (height, width) before. turn: in quarters, whole as in np.rot90, or a half more.
    """
    quarters, half = divmod(turn, 1)
    back = np.eye(3)
    height, width = turned_shape(shape, half)
    if half:
        centre, before = (np.array(size[::-1]) / 2 - 0.5 for size in ((height, width), shape))
        back[:2, :2] = camera_turn(half)[:2, :2].T
        back[:2, 2] = before - back[:2, :2] @ centre
    for _ in range(int(quarters)):
        height, width = width, height
        back = back @ np.array([[0, -1, height - 1], [1, 0, 0], [0, 0, 1]])
    return back


def camera_turn(turn: float) -> Float[np.ndarray, "3 3"]:
    """The rotation of a camera that was turned about its axis together with its image."""
    quarters, rest = divmod(turn, 1)
    quarter = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1.0]])  # X' = Y, Y' = -X
    whole = np.linalg.matrix_power(quarter, int(quarters))
    if not rest:
        return whole
    cos, sin = np.cos(rest * np.pi / 2), np.sin(rest * np.pi / 2)
    return whole @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1.0]])


def turned_camera(
    K: Float[np.ndarray, "*b 3 3"], shape: tuple[int, int], turn: float
) -> Float[np.ndarray, "*b 3 3"]:
    """The intrinsics of a camera that was turned about its axis together with its image.

    K, shape: of the image before.
    """
    forth = np.linalg.inv(turned_back(shape, turn))
    return forth @ K @ camera_turn(turn).T


def warp_points(
    homography: Float[np.ndarray, "3 3"],
    points: Real[np.ndarray, "k 2"],
    *,
    signed: bool = False,
    beyond: float = np.inf,
) -> Float[np.ndarray, "k 2"]:
    """Points taken through a homography; `beyond` where they go to or behind the line at infinity.

    signed: the third row is a depth, positive in front of the camera. Else the homography is known
    up to its sign, and the side of the first image's origin counts as the front.
    """
    lifted = np.asarray(points, np.float64) @ homography[:, :2].T + homography[:, 2]
    depth = lifted[:, 2:]
    sign = 1.0 if signed or homography[2, 2] == 0 else homography[2, 2]
    front = depth * sign > 0
    return np.where(front, lifted[:, :2] / np.where(front, depth, 1.0), beyond)


def rigid_pose(pose) -> Float[np.ndarray, "4 4"]:
    """A pose from a file or a caller, [4 4] or [3 4], with its rotation made exactly orthonormal;
    16 or 12 numbers in a row are one too.

    Raises ValueError, in words that begin with "must", where R^T R is further than
    ROTATION_TOLERANCE from 1, where R mirrors, and where the last row is not 0 0 0 1.
    """
    try:
        pose = np.asarray(pose, float)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"must be [4 4] or [3 4], of numbers ({error})") from None
    if pose.shape in ((12,), (16,)):
        pose = pose.reshape(-1, 4)
    if pose.shape == (3, 4):
        pose = np.concatenate([pose, [[0.0, 0.0, 0.0, 1.0]]])
    if pose.shape != (4, 4) or not (np.abs(pose) < FAR).all():
        raise ValueError(f"must be [4 4] or [3 4] and finite; got {pose.tolist()}")
    R, must = pose[:3, :3], "must be a rotation and a translation above a row of 0 0 0 1"
    if not np.allclose(pose[3], [0, 0, 0, 1], atol=1e-6):
        raise ValueError(f"{must}; its last row is {pose[3].tolist()}. Is it transposed?")
    det, off = np.linalg.det(R), np.abs(R.T @ R - np.eye(3)).max()
    if det <= 0:
        raise ValueError(f"{must}; det R is {det:.3g}: it mirrors. Cameras look along +z, y down.")
    if off >= ROTATION_TOLERANCE:
        size = np.cbrt(det)
        sheared = np.abs(R.T @ R / size**2 - np.eye(3)).max() >= ROTATION_TOLERANCE
        what = "is sheared" if sheared else f"is scaled by {size:.3g}"
        raise ValueError(f"{must}; R {what}, det R is {det:.3g}.")
    if off < 1e-12:
        return pose
    left, _, right = np.linalg.svd(R)
    rigid = np.eye(4)
    rigid[:3, :3], rigid[:3, 3] = left @ right, pose[:3, 3]
    return rigid


def relative_pose(
    cam0_from_world: Float[np.ndarray, "4 4"], cam1_from_world: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "4 4"]:
    """cam1_from_cam0 of two cameras that stand in one world."""
    return cam1_from_world @ np.linalg.inv(cam0_from_world)


def essential_matrix(cam1_from_cam0: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "3 3"]:
    """E = [t]x R of a pose, so that x1^T E x0 = 0; t to unit length (zero stays zero)."""
    rotation, t = cam1_from_cam0[:3, :3], cam1_from_cam0[:3, 3]
    x, y, z = t / max(np.linalg.norm(t), 1e-300)
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]]) @ rotation


def fundamental_matrix(
    cam1_from_cam0: Float[np.ndarray, "4 4"],
    K0: Float[np.ndarray, "3 3"],
    K1: Float[np.ndarray, "3 3"],
) -> Float[np.ndarray, "3 3"]:
    """F = K1^-T E K0^-1, for points in pixels."""
    return np.linalg.inv(K1).T @ essential_matrix(cam1_from_cam0) @ np.linalg.inv(K0)
