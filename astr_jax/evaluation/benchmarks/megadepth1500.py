"""MegaDepth-1500: the five index files of the LoFTR family, 300 pairs each, pose AUC.

    ROOT/Undistorted_SfM/{0015,0022}/images/*.jpg   (megadepth_test_1500.tar)
    INDEX/{0015_0.1_0.3,0015_0.3_0.5,0022_0.1_0.3,0022_0.3_0.5,0022_0.5_0.7}.npz

As in LoFTR, poses are estimated in pixels of the files, whatever the size that is matched. The
index files are pickles; they are read without running what a pickle may ask for.
"""

import os
import pathlib

from astr_jax.data.readers import MegaDepth, PosedPair, UnreadableFile
from astr_jax.data.readers.calibration import check_principal_point
from astr_jax.evaluation.benchmarks.benchmark import Benchmark
from astr_jax.evaluation.benchmarks.headers import picture_size
from astr_jax.evaluation.benchmarks.pairs import Pair
from astr_jax.evaluation.benchmarks.resizing import Resize
from astr_jax.evaluation.benchmarks.truths import PoseTruth

NAME = "megadepth1500"
RESIZE = Resize(long_side=1200, multiple=8)  # LoFTR 840, ASpanFormer 1152
WHOLE = 1500


def read(
    root: str | os.PathLike, index: str | os.PathLike, *, resize: Resize = RESIZE
) -> Benchmark:
    """The pairs of all index files of a folder, in the order of the files and of their pairs.

    A pair's group is its file's band of co-visibility, such as "0.1-0.3".
    """
    dataset = MegaDepth(root, index, min_overlap=0.0, max_overlap=1.0)
    pairs = [_pair(scene, pair) for scene in dataset.scenes for pair in dataset.pairs(scene)]
    cameras: dict[pathlib.Path, list] = {}
    for pair in pairs:
        for path, K in ((pair.image0, pair.truth.K0), (pair.image1, pair.truth.K1)):
            cameras.setdefault(path, []).append(K)
    for picture in sorted(cameras):
        if "Undistorted_SfM" not in picture.parts:
            raise UnreadableFile(
                picture,
                "the benchmark is of the undistorted pictures, Undistorted_SfM/SCENE/images/*.jpg; "
                "those of MegaDepth_v1 do not fit the cameras",
            )
        width, height = picture_size(picture)
        for K in cameras[picture]:
            check_principal_point(K, (height, width), picture)
    return Benchmark(
        name=NAME, pairs=tuple(pairs), resize=resize, poses_in_file_pixels=True, whole=WHOLE
    )


def _pair(scene: str, posed: PosedPair) -> Pair:
    image0, image1 = (pathlib.Path(view.image) for view in (posed.view0, posed.view1))
    return Pair(
        set=NAME,
        name=f"{scene} {image0.stem} {image1.stem}",
        group=scene.partition("_")[2].replace("_", "-"),
        overlap=posed.overlap,
        image0=image0,
        image1=image1,
        truth=PoseTruth(K0=posed.view0.K, K1=posed.view1.K, cam1_from_cam0=posed.cam1_from_cam0),
    )
