"""The cameras of queries: from a list, from EXIF, or from the model."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from astr_jax.localisation.scene import Scene
from astr_jax.reconstruction.photos import Photo

if TYPE_CHECKING:
    import pycolmap


def read_cameras(file: str | os.PathLike) -> dict[str, "pycolmap.Camera"]:
    """Cameras by the names of their photographs, from a list as hloc has it: NAME MODEL WIDTH
    HEIGHT PARAMS a line, as COLMAP names and orders them. Raises FileNotFoundError or ValueError.
    """
    import pycolmap

    file = pathlib.Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"there is no list of cameras {file}.")
    cameras = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        try:
            name, model, width, height, *params = words
            camera = pycolmap.Camera(
                model=model, width=int(width), height=int(height), params=list(map(float, params))
            )
            right = camera.verify_params() and np.isfinite(camera.params).all()
        except (ValueError, TypeError, RuntimeError) as error:  # pycolmap raises them all
            raise ValueError(f"{file}, line {number}: {_EXPECTED}; {error}.") from None
        if not right:
            raise ValueError(f"{file}, line {number}: {_EXPECTED}; got {line!r}.")
        cameras[name] = camera
    return cameras


_EXPECTED = "expected NAME MODEL WIDTH HEIGHT PARAMS, such as a.jpg PINHOLE 640 480 500 500 320 240"


def cameras_of(
    queries: Sequence[Photo],
    listed: Mapping[str, "pycolmap.Camera"] | None,
    scene: Scene,
    similar: Int[np.ndarray, "q v"] | Sequence[Sequence[int]],
    *,
    exif: bool = True,
) -> tuple["pycolmap.Camera", ...]:
    """The camera of each query: of the list, where there is one; else by the focal length of EXIF;
    else that of the most similar view of the same size.

    similar: of each query the numbers of views, the most similar first. exif: False leaves EXIF
    out. Raises ValueError for a query without a camera, or with one of another size.
    """
    return tuple(
        _listed(query, listed) if listed is not None else _found(query, scene, views, exif)
        for query, views in zip(queries, similar, strict=True)
    )


def _listed(query: Photo, listed: Mapping[str, "pycolmap.Camera"]) -> "pycolmap.Camera":
    if query.name not in listed:
        raise ValueError(f"the list of cameras has no line for {query.name}.")
    camera = listed[query.name]
    if (camera.height, camera.width) != query.stored_shape:
        height, width = query.stored_shape
        raise ValueError(
            f"the camera of {query.name} is {camera.width} x {camera.height}, the file as stored "
            f"{width} x {height}."
        )
    return camera


def _found(query: Photo, scene: Scene, views, exif: bool) -> "pycolmap.Camera":
    camera = _of_exif(query) if exif else None
    if camera is not None:
        return camera
    order = [*views, *range(len(scene.views))]
    for view in (scene.views[number] for number in order):
        if view.photo.stored_shape == query.stored_shape:
            return scene.cameras[view.camera_id]
    height, width = query.stored_shape
    raise ValueError(
        f"nothing tells the camera of {query.name} ({width} x {height}): it has no focal length in "
        "EXIF, and the model no image of its size. Give a list of cameras."
    )


def _of_exif(query: Photo) -> "pycolmap.Camera | None":
    import pycolmap

    try:
        camera = pycolmap.infer_camera_from_image(query.path)
    except ValueError:  # a kind of file that pycolmap does not read
        return None
    known = camera.has_prior_focal_length
    return camera if known and (camera.height, camera.width) == query.stored_shape else None
