"""A folder of pictures with poses: the plain layout for one's own data.

    kitchen/scene.json
    kitchen/images/0001.jpg
    kitchen/depth/0001.png      16 bits, thousandths of the poses' unit (mm to metres), 0 = unknown

scene.json:

    {"K": [[fx, 0, cx], [0, fy, cy], [0, 0, 1]],
     "frames": [{"image": "images/0001.jpg", "depth": "depth/0001.png",
                 "T_cam_to_world": [[...], [...], [...], [0, 0, 0, 1]]}, ...]}

A frame's own "K" comes before the scene's. "depth" may be null. Pixel centres lie at whole
numbers. Pairs are found by what both views see, which needs depth in at least one of them.
"""

import json
import pathlib

import numpy as np

from astr_jax.data.readers.bad_files import UnreadableFile
from astr_jax.data.readers.calibration import checked_intrinsics
from astr_jax.data.readers.depths import read_depth
from astr_jax.data.readers.overlap import overlap_from_depth
from astr_jax.data.readers.pairs import LazyPairs, SceneFolders, chosen_pairs, pairs_of_views
from astr_jax.data.readers.views import View
from astr_jax.geometry import rigid_pose
from astr_jax.images import UNREADABLE, stored_shape


class PosedFolders(SceneFolders):
    """Reads folders that hold a scene.json each; a scene has its folder's name."""

    def read_scene(self, scene: str) -> LazyPairs:
        folder = self.folders[scene]
        path = folder / "scene.json"
        try:
            content = json.loads(path.read_text())
            if "mm" not in content.get("depth_unit", "mm"):
                raise ValueError(f"depth_unit must be mm; got {content['depth_unit']!r}")
            frames = [frame_of(scene, folder, frame, content) for frame in content["frames"]]
        except FileNotFoundError:
            raise UnreadableFile(path, "there is no such file") from None
        except KeyError as error:
            raise UnreadableFile(path, f"there is no {error} in it") from None
        except UnreadableFile:
            raise
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            raise UnreadableFile(path, f"it is no description of a scene ({error})") from None
        views = [view for view, _ in frames]
        poses = [np.linalg.inv(world_from_cam) for _, world_from_cam in frames]
        overlap = overlap_from_depth(
            [read_depth(view.depth) for view in views],
            [view.K for view in views],
            [_stored_size(view.image) for view in views],
            poses,
        )
        index, shares = chosen_pairs(overlap, *self.overlaps)
        return pairs_of_views(scene, views.__getitem__, poses, index, shares)


def frame_of(
    scene: str, folder: pathlib.Path, frame: dict, content: dict
) -> tuple[View, np.ndarray]:
    """A frame's view and its world_from_cam [4 4]."""
    try:
        world_from_cam = rigid_pose(frame["T_cam_to_world"])
    except ValueError as error:
        raise ValueError(f"T_cam_to_world of {frame['image']} {error}") from None
    depth, name = frame.get("depth"), f"{scene}/{frame['image']}"
    view = View(
        name=name,
        image=folder / frame["image"],
        K=checked_intrinsics(frame["K"] if "K" in frame else content["K"], name),
        depth=None if depth is None else folder / depth,
    )
    return view, world_from_cam


def _stored_size(path: pathlib.Path) -> tuple[int, int]:
    """(h, w) of a picture as stored, from its header."""
    try:
        return stored_shape(path)
    except UNREADABLE as error:
        raise UnreadableFile(path, f"it cannot be read as an image ({error})") from None
