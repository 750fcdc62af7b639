"""From a COLMAP model of photographs to a scene to train on: upright, undistorted, shrunk."""

import os
from typing import TYPE_CHECKING

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from astr_jax.data.photos import LONG_SIDE, read_photo
from astr_jax.data.readers.colmap_model import ModelImage
from astr_jax.data.scenes import Scene, scene_of
from astr_jax.geometry import (
    camera_turn,
    enlarged_points,
    shrunk_intrinsics,
    shrunk_points,
    turned_back,
    turned_camera,
    warp_points,
)
from astr_jax.images import notice, to_stored
from astr_jax.localisation import scene as localised
from astr_jax.reconstruction.database import HALF

if TYPE_CHECKING:
    import pycolmap

LEAST_VIEWS = 3  # of a point
TURNS = {1: 0, 3: 2, 6: 3, 8: 1}  # EXIF orientation -> quarters anticlockwise, to stand upright


def read_labels(
    model: str | os.PathLike, photos: str | os.PathLike, *, long_side: int = LONG_SIDE
) -> Scene:
    """The scene of a model and the folder of its photographs, whose cameras may have distortion.

    The pictures become those of cameras without, of the same focal lengths; their long side is
    shrunk. Points of LEAST_VIEWS views or more count, measured within 1 px of the shrunk pictures.
    Pictures that their EXIF tag mirrors are left out, with a notice. Raises ValueError.
    """
    import pycolmap

    place = localised.read_scene(model, photos)
    found = pycolmap.Reconstruction(str(model))
    images = {image.name: image for image in found.images.values()}
    points = {
        number: tuple(point.xyz.tolist())
        for number, point in found.points3D.items()
        if point.track.length() >= LEAST_VIEWS
    }
    pictures = []
    for view in place.views:
        if view.photo.orientation not in TURNS:
            notice(f"{view.photo.name} is mirrored by its EXIF tag, and is left out.")
            continue
        pose = np.eye(4)
        pose[:3] = images[view.photo.name].cam_from_world().matrix()
        pictures.append(_picture(view, place.cameras[view.camera_id], pose, long_side))
    return scene_of(str(model), points, pictures)


def _picture(
    view: localised.View,
    camera: "pycolmap.Camera",
    cam_from_world: Float[np.ndarray, "4 4"],
    long_side: int,
) -> tuple[UInt8[np.ndarray, "h w"], ModelImage]:
    """A picture as a camera without distortion takes it, upright, and what the model says of it."""
    photo, turn = view.photo, TURNS[view.photo.orientation]
    stored = np.rot90(read_photo(photo.path, long_side=long_side), -turn)
    scale = camera.width / stored.shape[1], camera.height / stored.shape[0]
    focal = np.array([camera.focal_length_x, camera.focal_length_y])
    centre = np.array([camera.principal_point_x, camera.principal_point_y]) - HALF
    K = np.eye(3)
    K[[0, 1], [0, 1]], K[:2, 2] = focal, centre
    rays = camera.cam_from_img(to_stored(view.points, photo.orientation, photo.stored_shape) + HALF)
    points = shrunk_points(rays * focal + centre, scale)
    if camera.model_name not in ("PINHOLE", "SIMPLE_PINHOLE"):
        stored = _undistorted(stored, camera, K, scale)
    K, rotation = shrunk_intrinsics(K, scale), np.eye(4)
    rotation[:3, :3] = camera_turn(turn)
    upright = np.ascontiguousarray(np.rot90(stored, turn))
    inside = ((points >= 0) & (points <= np.array(stored.shape[::-1]) - 1)).all(axis=1)
    points = warp_points(np.linalg.inv(turned_back(stored.shape, turn)), points[inside])
    return upright, ModelImage(
        name=photo.name,
        size=upright.shape,
        K=turned_camera(K, stored.shape, turn),
        cam_from_world=rotation @ cam_from_world,
        keypoints=points,
        points=view.point_ids[inside],
    )


def _undistorted(
    stored: UInt8[np.ndarray, "h w"],
    camera: "pycolmap.Camera",
    K: Float[np.ndarray, "3 3"],
    scale: tuple[float, float],
) -> UInt8[np.ndarray, "h w"]:
    """The picture as K sees it; black where the photograph ends. K, camera: of a picture that is
    `scale` (x, y) times larger."""
    height, width = stored.shape
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).reshape(-1, 2)
    rays = warp_points(np.linalg.inv(K), enlarged_points(grid, scale))
    at = camera.img_from_cam(np.concatenate([rays, np.ones((len(rays), 1))], axis=1)) - HALF
    at = np.nan_to_num(shrunk_points(at, scale), nan=-9.0).reshape(height, width, 2)
    return cv2.remap(np.ascontiguousarray(stored), at.astype(np.float32), None, cv2.INTER_CUBIC)
