"""A COLMAP model to localise in: its images, where each shows which points, and its cameras.

It may be ours or another's: all that is asked of its keypoints is that they have a point.
"""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from astr_jax.images import to_upright
from astr_jax.reconstruction.database import HALF
from astr_jax.reconstruction.photos import Photo, read_photo

if TYPE_CHECKING:
    import pycolmap

FEWEST = 4  # points that an image must show to be of use


@dataclasses.dataclass(frozen=True)
class View:
    """A database image, and where it shows points of the model."""

    photo: Photo
    camera_id: int
    points: Float[np.ndarray, "k 2"]  # pixels of the upright image as given
    point_ids: Int[np.ndarray, " k"]


@dataclasses.dataclass(frozen=True)
class Scene:
    """A model: views in the order of their names, points in the order of their numbers."""

    views: tuple[View, ...]
    point_ids: Int[np.ndarray, " n"]
    xyz: Float[np.ndarray, "n 3"]
    cameras: Mapping[int, "pycolmap.Camera"]
    digest: str  # of all that matches depend on

    def positions(self, point_ids: Int[np.ndarray, " k"]) -> Float[np.ndarray, "k 3"]:
        """Where points lie."""
        return self.xyz[np.searchsorted(self.point_ids, point_ids)]


def read_scene(model: str | os.PathLike, images: str | os.PathLike) -> Scene:
    """Reads a folder with cameras, images and points3D, in binary or text.

    images: the folder that the names of the model's images stand in. Raises ValueError where the
    model is none or shows too little, and where its images are not those of the folder.
    """
    import pycolmap

    try:
        found = pycolmap.Reconstruction(str(model))
    except Exception as error:  # pycolmap raises what its C++ does
        raise ValueError(f"{model} is no COLMAP model ({error}).") from None
    return scene_of(found, images, name=str(model))


def scene_of(model: "pycolmap.Reconstruction", images: str | os.PathLike, *, name: str) -> Scene:
    """The same of a model in memory; name: what errors call it."""
    folder, views = pathlib.Path(images), []
    there = {image.name: image for image in model.images.values() if image.has_pose}
    there = {key: image for key, image in there.items() if image.num_points3D >= FEWEST}
    missing = [key for key in there if not (folder / key).is_file()]
    if missing:
        raise ValueError(
            f"{len(missing)} of the {len(there)} images of {name} are not in {folder}, the first: "
            f"{min(missing)}. Give the folder that the model was made from."
        )
    for key in sorted(there):
        views.append(_view(there[key], model.cameras[there[key].camera_id], folder / key))
    if not views:
        raise ValueError(f"{name} has no image that shows {FEWEST} points or more.")
    numbers = np.array(sorted(model.points3D), np.int64)
    xyz = np.array([model.points3D[number].xyz for number in numbers.tolist()]).reshape(-1, 3)
    digest = hashlib.sha256()
    for view in views:
        digest.update(repr((view.photo.name, view.photo.orientation)).encode())
        digest.update(view.points.tobytes())
        digest.update(view.point_ids.tobytes())
    cameras = dict(model.cameras.items())
    return Scene(tuple(views), numbers, xyz, cameras, digest.hexdigest())


def _view(image: "pycolmap.Image", camera: "pycolmap.Camera", path: pathlib.Path) -> View:
    photo = read_photo(image.name, path)
    if photo.stored_shape != (camera.height, camera.width):
        height, width = photo.stored_shape
        raise ValueError(
            f"{path} is {width} x {height}, but its camera in the model {camera.width} x "
            f"{camera.height}: give the images that the model was made from."
        )
    seen = [point for point in image.points2D if point.has_point3D()]
    xy = np.array([point.xy for point in seen]).reshape(-1, 2) - HALF
    ids = np.array([point.point3D_id for point in seen], np.int64)
    points = to_upright(xy, photo.orientation, photo.stored_shape)
    height, width = photo.upright_shape
    inside = ((points > -HALF) & (points < np.array([width, height]) - HALF)).all(axis=1)
    return View(photo, image.camera_id, points[inside], ids[inside])
