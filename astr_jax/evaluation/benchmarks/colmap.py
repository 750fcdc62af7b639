"""Any COLMAP model as the truth: pairs of its pictures, drawn by bands of co-visibility.

    SCENE/images/...   SCENE/sparse/{cameras,images}.bin   (or sparse/0, or .txt)

Co-visibility is the share of common triangulated points, of those of the picture with fewer. The
pictures must be undistorted (PINHOLE or SIMPLE_PINHOLE), as `colmap image_undistorter` writes them.
"""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from astr_jax.data.readers.bad_files import UnreadableFile
from astr_jax.data.readers.calibration import size_scale
from astr_jax.data.readers.colmap import model_folder
from astr_jax.data.readers.colmap_model import ModelImage, read_images
from astr_jax.data.readers.overlap import overlap_from_tracks
from astr_jax.evaluation.benchmarks.benchmark import Benchmark
from astr_jax.evaluation.benchmarks.headers import picture_size
from astr_jax.evaluation.benchmarks.pairs import Pair
from astr_jax.evaluation.benchmarks.resizing import Resize
from astr_jax.evaluation.benchmarks.truths import PoseTruth
from astr_jax.geometry import relative_pose, shrunk_intrinsics

NAME = "colmap"
RESIZE = Resize(long_side=1200, multiple=8)
BANDS = ((0.1, 0.3), (0.3, 0.5), (0.5, 0.7))  # least <= co-visibility < most
PER_BAND = 300


def read(
    folders: Sequence[str | os.PathLike],
    *,
    resize: Resize = RESIZE,
    bands: Sequence[tuple[float, float]] = BANDS,
    per_band: int = PER_BAND,
    seed: int = 0,
) -> Benchmark:
    """At most per_band pairs of each band of each scene, drawn by the seed.

    A scene is a set, named by its folder; a band is a group, such as "0.1-0.3".
    """
    scenes = {pathlib.Path(folder).resolve().name: pathlib.Path(folder) for folder in folders}
    if len(scenes) != len(folders):
        raise ValueError(f"Scenes are told apart by their folders' names; got {list(folders)}.")
    if per_band < 1:
        raise ValueError(f"per_band must be 1 or more; got {per_band}.")
    pairs = [
        pair
        for name, folder in scenes.items()
        for pair in _scene_pairs(name, folder, bands, per_band, seed)
    ]
    return Benchmark(name=NAME, pairs=tuple(pairs), resize=resize)


def _scene_pairs(name, folder, bands, per_band, seed) -> list[Pair]:
    model = model_folder(folder)
    images = read_images(model)
    if len(images) < 2:
        raise UnreadableFile(model, f"a pair needs two registered pictures; it has {len(images)}")
    overlap = overlap_from_tracks([np.unique(image.points) for image in images])
    pairs = []
    for number, (least, most) in enumerate(bands):
        candidates = np.argwhere(np.triu((overlap >= least) & (overlap < most), k=1))
        order = np.random.default_rng([seed, number]).permutation(len(candidates))
        for i, j in candidates[np.sort(order[:per_band])]:
            share = float(overlap[i, j])
            group = f"{least:g}-{most:g}"
            try:
                pairs.append(_pair(name, folder, images[i], images[j], group, share))
            except UnreadableFile:
                raise
            except ValueError as error:
                raise UnreadableFile(model, str(error).rstrip(".")) from None
    if not pairs:
        most = np.triu(overlap, k=1).max()
        raise UnreadableFile(
            model, f"no two pictures share points in a band of {bands}; the largest share is {most}"
        )
    return pairs


def _pair(scene, folder, image0: ModelImage, image1: ModelImage, group, overlap) -> Pair:
    return Pair(
        set=scene,
        name=f"{image0.name} {image1.name}",
        group=group,
        overlap=overlap,
        image0=folder / "images" / image0.name,
        image1=folder / "images" / image1.name,
        truth=PoseTruth(
            K0=_intrinsics(folder, image0),
            K1=_intrinsics(folder, image1),
            cam1_from_cam0=relative_pose(image0.cam_from_world, image1.cam_from_world),
        ),
    )


def _intrinsics(folder: pathlib.Path, image: ModelImage) -> Float[np.ndarray, "3 3"]:
    """K in pixels of the picture's file, whose size may be another than the model's."""
    path = folder / "images" / image.name
    width, height = picture_size(path)
    return shrunk_intrinsics(image.K, size_scale(image.size, (height, width), path))
