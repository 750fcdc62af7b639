"""A photograph with its camera and the points that it shows: cut, turned, scaled, mirrored.

Whatever is done to the picture, the camera and the points follow it exactly.
"""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from astr_jax.data.scenes import camera_centre
from astr_jax.geometry import relative_pose, shrunk_intrinsics, shrunk_points

LEAST_ZOOM = 0.95  # below it a photograph is shrunk by area


@dataclasses.dataclass(frozen=True)
class Shot:
    """A photograph, its camera and some points of the world in it."""

    image: UInt8[np.ndarray, "h w"]
    K: Float[np.ndarray, "3 3"]
    cam_from_world: Float[np.ndarray, "4 4"]
    points: Float[np.ndarray, "t 2"]

    def mirrored(self) -> "Shot":
        """As a mirror shows it; of a world that is mirrored likewise."""
        mirror = np.diag([-1.0, 1, 1, 1])
        width, K = self.image.shape[1], self.K.copy()
        K[0, 2] = width - 1 - K[0, 2]
        points = np.stack([width - 1 - self.points[:, 0], self.points[:, 1]], axis=-1)
        pose = mirror @ self.cam_from_world @ mirror
        return Shot(cv2.flip(self.image, 1), K, pose, points)

    def taken(
        self,
        look: int,
        zoom: float,
        turn: float,
        target: Float[np.ndarray, "2"],
        size: tuple[int, int],
    ) -> tuple["Shot", Bool[np.ndarray, "h w"]]:
        """An image of size (h, w) with point `look` at a target pixel, and where it shows the
        photograph; beyond its edge that goes on, mirrored.

        zoom: pixels of the image per pixel of the photograph. turn: about the axis, radians.
        """
        photo, points, K = self.image, self.points, self.K
        if zoom < LEAST_ZOOM:  # by area first, so that nothing aliases
            small = tuple(max(2, round(side * zoom)) for side in photo.shape)
            scale = photo.shape[1] / small[1], photo.shape[0] / small[0]
            points, K = shrunk_points(points, scale), shrunk_intrinsics(K, scale)
            photo = cv2.resize(photo, small[::-1], interpolation=cv2.INTER_AREA)
            zoom = 1.0
        cosine, sine = zoom * np.cos(turn), zoom * np.sin(turn)
        matrix = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1.0]])
        matrix[:2, 2] = target - matrix[:2, :2] @ points[look]
        warp = {"M": matrix[:2], "dsize": size[::-1]}
        border = cv2.BORDER_REFLECT_101
        image = cv2.warpAffine(photo, **warp, flags=cv2.INTER_LINEAR, borderMode=border)
        whole = np.full(photo.shape, 255, np.uint8)
        visible = cv2.warpAffine(whole, **warp, flags=cv2.INTER_NEAREST) > 0
        K, turned = upper_triangular(matrix @ K)
        pose = self.cam_from_world.copy()
        pose[:3] = turned @ pose[:3]
        return Shot(image, K, pose, points @ matrix[:2, :2].T + matrix[:2, 2]), visible


def upper_triangular(
    camera: Float[np.ndarray, "3 3"],
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3 3"]]:
    """K, of positive focal lengths, and a rotation with camera = K @ rotation."""
    flip = np.eye(3)[::-1]
    q, r = np.linalg.qr((flip @ camera).T)
    K, rotation = flip @ r.T @ flip, flip @ q.T
    signs = np.diag(np.sign(np.diag(K)))
    K, rotation = K @ signs, signs @ rotation
    return K / K[2, 2], rotation


def shown(points: Float[np.ndarray, "t 2"], visible: Bool[np.ndarray, "h w"]) -> np.ndarray:
    """Whether the pixel nearest to each point is in the image and visible."""
    x, y = np.rint(points).astype(int).T
    inside = (x >= 0) & (x < visible.shape[1]) & (y >= 0) & (y < visible.shape[0])
    return inside & visible[np.where(inside, y, 0), np.where(inside, x, 0)]


def jacobians(shot0: Shot, shot1: Shot, xyz) -> Float[np.ndarray, "t 2 2"]:
    """How points of image 1 follow those of image 0 about each point, if its surface faces the
    middle between both cameras."""
    rays = [xyz - camera_centre(shot.cam_from_world) for shot in (shot0, shot1)]
    normal = sum(ray / np.linalg.norm(ray, axis=-1, keepdims=True) for ray in rays)
    pose0 = shot0.cam_from_world
    normal0 = normal @ pose0[:3, :3].T
    pose = relative_pose(pose0, shot1.cam_from_world)
    point0 = xyz @ pose0[:3, :3].T + pose0[:3, 3]
    offset = (normal0 * point0).sum(axis=-1)  # of the plane, normal . X = offset
    plane = pose[:3, :3] + pose[:3, 3][:, None] * normal0[:, None, :] / offset[:, None, None]
    homography = shot1.K @ plane @ np.linalg.inv(shot0.K)
    lifted = point0 @ shot0.K.T
    lifted /= lifted[:, 2:]
    moved = np.einsum("tij,tj->ti", homography, lifted)
    at1 = moved[:, :2] / moved[:, 2:]
    rows = homography[:, :2, :2] - at1[:, :, None] * homography[:, None, 2, :2]
    return rows / moved[:, 2, None, None]
