"""The pose of a camera from points of the scene in its image, by PoseLib, and how sure it is."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

if TYPE_CHECKING:
    import pycolmap

LEAST_INLIERS = 12  # fewer, and the query is not localised
MAX_ITERATIONS = 10_000
STEP = 1e-6  # of numerical slopes: radians, and parts of the median depth


@dataclasses.dataclass(frozen=True)
class Pose:
    """Where a photograph was taken."""

    cam_from_world: Float[np.ndarray, "4 4"]
    inliers: Bool[np.ndarray, " k"]  # of the correspondences that were given
    residual: float  # root mean square over the inliers, per axis, pixels
    covariance: Float[np.ndarray, "6 6"]  # of (w, d): points of the camera go to exp(w) X + d

    @property
    def centre(self) -> Float[np.ndarray, "3"]:
        """The camera's centre in the world."""
        return -self.cam_from_world[:3, :3].T @ self.cam_from_world[:3, 3]

    @property
    def sigma_position(self) -> float:
        """Standard deviation of the centre's distance from the true one, units of the model."""
        return float(np.sqrt(np.trace(self.covariance[3:, 3:])))

    @property
    def sigma_rotation(self) -> float:
        """The same of the angle to the true rotation, degrees."""
        return float(np.degrees(np.sqrt(np.trace(self.covariance[:3, :3]))))


def estimate_pose(
    points: Float[np.ndarray, "k 2"],
    xyz: Float[np.ndarray, "k 3"],
    camera: "pycolmap.Camera",
    *,
    max_error: float,
    seed: int = 0,
) -> Pose | None:
    """The pose by LO-RANSAC and refinement of its inliers; None where too few agree.

    points: in COLMAP's pixels of the file as stored. max_error: of an inlier, in these pixels. The
    covariance is that of least squares, with the residual as the error of each point, independent
    of the others: errors that points share (of the camera, of the model) are not in it.
    """
    import poselib

    if len(points) < LEAST_INLIERS:
        return None
    points, xyz = np.asarray(points, float), np.asarray(xyz, float)
    options = {"max_reproj_error": max_error, "max_iterations": MAX_ITERATIONS, "seed": seed}
    pose, found = poselib.estimate_absolute_pose(points, xyz, poselib_camera(camera), options, {})
    inliers = np.array(found["inliers"], bool)
    if inliers.sum() < LEAST_INLIERS:
        return None
    cam_from_world = np.vstack([pose.Rt, [0, 0, 0, 1]])
    residual, covariance = _precision(points[inliers], xyz[inliers], camera, cam_from_world)
    return Pose(cam_from_world, inliers, residual, covariance)


def poselib_camera(camera: "pycolmap.Camera") -> dict:
    """A camera of pycolmap as PoseLib takes it; their models and parameters are the same."""
    return {
        "model": camera.model_name,
        "width": camera.width,
        "height": camera.height,
        "params": list(camera.params),
    }


def _precision(
    points: np.ndarray, xyz: np.ndarray, camera: "pycolmap.Camera", cam_from_world: np.ndarray
) -> tuple[float, np.ndarray]:
    """The residual, and the covariance of (w, d)."""
    seen = xyz @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
    depth = max(float(np.median(seen[:, 2])), 1e-12)
    projected = camera.img_from_cam(seen, check_cheirality=False)
    residual = np.sqrt(((points - projected) ** 2).sum() / max(2 * len(points) - 6, 1))
    steps = np.full(6, STEP)
    steps[3:] *= depth
    slopes = []
    for axis, step in enumerate(steps):
        unit = np.eye(3)[axis % 3]
        move = np.cross(unit, seen) if axis < 3 else unit
        ahead, behind = (
            camera.img_from_cam(seen + sign * step * move, check_cheirality=False)
            for sign in (1, -1)
        )
        slopes.append((ahead - behind).reshape(-1) / (2 * step))
    jacobian = np.stack(slopes, axis=1)
    return float(residual), residual**2 * np.linalg.pinv(jacobian.T @ jacobian)
