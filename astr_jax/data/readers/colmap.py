"""Any COLMAP model of undistorted pictures: `image_undistorter`'s folder, with or without depth.

scene/images/...   scene/sparse/{cameras,images,points3D}.bin   (or sparse/0, or .txt)
scene/stereo/depth_maps/....geometric.bin   written by `patch_match_stereo`; else sparse points
"""

import pathlib

import numpy as np

from astr_jax.data.readers.bad_files import UnreadableFile
from astr_jax.data.readers.colmap_model import ModelImage, read_images, read_points
from astr_jax.data.readers.depths import SparseDepth
from astr_jax.data.readers.overlap import overlap_from_tracks
from astr_jax.data.readers.pairs import LazyPairs, SceneFolders, chosen_pairs, pairs_of_views
from astr_jax.data.readers.views import View
from astr_jax.geometry import FAR


class ColmapModels(SceneFolders):
    """Reads folders that hold a COLMAP model each; a scene has its folder's name.

    The overlap of two views is the share of common points, of those of the view with fewer. With a
    folder stereo/depth_maps, every view has its map there; without, the depths of its points.
    """

    def read_scene(self, scene: str) -> LazyPairs:
        folder = self.folders[scene]
        model = model_folder(folder)
        images = read_images(model)
        if (folder / "stereo" / "depth_maps").is_dir():
            depths = [dense_map(folder, image.name) for image in images]
        else:
            points = read_points(model)
            depths = [sparse_depth(model, points, image) for image in images]
        views = [
            View(
                f"{scene}/{image.name}",
                folder / "images" / image.name,
                image.K,
                depth,
                size_of_K=image.size,
            )
            for image, depth in zip(images, depths, strict=True)
        ]
        overlap = overlap_from_tracks([np.unique(image.points) for image in images])
        index, shares = chosen_pairs(overlap, *self.overlaps)
        poses = [image.cam_from_world for image in images]
        return pairs_of_views(scene, views.__getitem__, poses, index, shares)


def model_folder(folder: pathlib.Path) -> pathlib.Path:
    """Where in a scene's folder the model lies."""
    places = [folder / "sparse" / "0", folder / "sparse", folder]
    place = next((p for p in places if any(p.glob("cameras.*"))), None)
    if place is None:
        raise UnreadableFile(folder, "expected cameras.bin or cameras.txt in it or in its sparse/")
    return place


def dense_map(folder: pathlib.Path, name: str) -> pathlib.Path:
    """The map of patch_match_stereo: checked between views if there, else the first pass."""
    maps = folder / "stereo" / "depth_maps"
    photometric = maps / f"{name}.photometric.bin"
    geometric = maps / f"{name}.geometric.bin"
    return photometric if photometric.is_file() and not geometric.is_file() else geometric


def sparse_depth(model: pathlib.Path, points: dict, image: ModelImage) -> SparseDepth:
    """Depths of the triangulated points that a picture sees, at its keypoints."""
    missing = set(image.points.tolist()) - points.keys()
    if missing:
        raise UnreadableFile(
            model, f"{image.name} sees point {min(missing)}, which is not among the points"
        )
    xyz = np.array([points[point] for point in image.points.tolist()]).reshape(-1, 3)
    z = xyz @ image.cam_from_world[2, :3] + image.cam_from_world[2, 3]
    known = (z > 0) & (z < FAR) & (np.abs(image.keypoints) < FAR).all(axis=-1)
    return SparseDepth(image.keypoints[known], z[known], image.size)
