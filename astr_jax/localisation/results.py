"""Poses of queries as files: hloc's text, COLMAP's text, and JSON with all that is known of them.

poses.txt     NAME QW QX QY QZ TX TY TZ, world to camera, a line for each localised query: hloc
sparse/       a COLMAP model in text: the queries, and the points of the scene that are inliers
poses.json    of every query: pose, camera, inliers, covariance, the database images asked
"""

import json
import pathlib
import shutil
from collections.abc import Sequence

import numpy as np

from astr_jax.files import replacing
from astr_jax.localisation.localise import Localised, colmap_pixels
from astr_jax.localisation.scene import Scene


def write_results(folder: pathlib.Path, localised: Sequence[Localised], scene: Scene) -> None:
    """Writes all three."""
    with replacing(folder / "poses.txt") as beside:
        beside.write_text("".join(map(_hloc_line, localised)), encoding="utf-8")
    with replacing(folder / "poses.json") as beside:
        text = json.dumps([_record(x) for x in localised], indent=1, ensure_ascii=False)
        beside.write_text(text + "\n", encoding="utf-8")
    beside = folder / ".sparse"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    _model(localised, scene).write_text(str(beside))
    shutil.rmtree(folder / "sparse", ignore_errors=True)
    beside.rename(folder / "sparse")


def _hloc_line(query: Localised) -> str:
    if query.pose is None:
        return ""
    import pycolmap

    pose = pycolmap.Rigid3d(query.pose.cam_from_world[:3])
    x, y, z, w = pose.rotation.quat
    numbers = (w, x, y, z, *pose.translation)
    return " ".join([query.photo.name, *(f"{number:.17g}" for number in numbers)]) + "\n"


def _record(query: Localised) -> dict:
    camera, pose = query.camera, query.pose
    record = {
        "name": query.photo.name,
        "camera": {
            "model": camera.model_name,
            "width": camera.width,
            "height": camera.height,
            "params": list(camera.params),
        },
        "database_images": list(query.views),
        "correspondences": len(query.found),
        "inliers": 0 if pose is None else int(pose.inliers.sum()),
    }
    if pose is None:
        return record | {"cam_from_world": None}
    return record | {
        "cam_from_world": pose.cam_from_world.tolist(),
        "residual": pose.residual,
        "covariance": pose.covariance.tolist(),
        "sigma_position": pose.sigma_position,
        "sigma_rotation": pose.sigma_rotation,
    }


def _model(localised: Sequence[Localised], scene: Scene):
    """The localised queries as a pycolmap model, with their inliers."""
    import pycolmap

    model, tracks = pycolmap.Reconstruction(), {}
    for number, query in enumerate((x for x in localised if x.pose is not None), 1):
        camera = pycolmap.Camera(query.camera.todict() | {"camera_id": number})
        model.add_camera_with_trivial_rig(camera)
        inliers = query.found[query.pose.inliers]
        pixels = colmap_pixels(inliers, query.photo)
        image = pycolmap.Image(
            name=query.photo.name,
            camera_id=number,
            image_id=number,
            points2D=pycolmap.Point2DList([pycolmap.Point2D(xy) for xy in pixels]),
        )
        pose = pycolmap.Rigid3d(query.pose.cam_from_world[:3])
        model.add_image_with_trivial_frame(image, pose)
        for index, point in enumerate(inliers.point_ids.tolist()):
            tracks.setdefault(point, pycolmap.Track()).add_element(number, index)
    numbers = np.array(sorted(tracks), np.int64)
    for point, xyz in zip(numbers.tolist(), scene.positions(numbers), strict=True):
        model.add_point3D_with_id(point, pycolmap.Point3D(xyz=xyz, track=tracks[point]))
    return model
