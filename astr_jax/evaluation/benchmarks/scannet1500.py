"""ScanNet-1500: the index of SuperGlue and the LoFTR family, 1,500 pairs at 640 x 480, pose AUC.

    ROOT/scene0707_00/color/15.jpg   ROOT/scene0707_00/pose/15.txt     (scannet_test_1500.tar)
    test.npz: name [1500 4] (scene, scan, stem0, stem1), maybe rel_pose [1500 12]
    intrinsics.npz: [3 3] of each scan, in pixels of the 640 x 480 depth map

Poses are read from the pose/ folders; without them rel_pose is taken. As in the papers, colour
pictures of any size count as views of the depth camera. So K is scaled from 640 x 480 to their
pixels.
"""

import math
import os
import pathlib

from astr_jax.data.readers import PosedPair, ScanNet
from astr_jax.data.readers.views import View
from astr_jax.evaluation.benchmarks.benchmark import Benchmark
from astr_jax.evaluation.benchmarks.headers import picture_size
from astr_jax.evaluation.benchmarks.pairs import Pair
from astr_jax.evaluation.benchmarks.resizing import Resize
from astr_jax.evaluation.benchmarks.truths import PoseTruth
from astr_jax.geometry import shrunk_intrinsics

NAME = "scannet1500"
DEPTH_SIZE = (640, 480)  # (w, h) that the intrinsics are of
RESIZE = Resize(size=DEPTH_SIZE)
WHOLE = 1500


def read(
    root: str | os.PathLike,
    index: str | os.PathLike,
    intrinsics: str | os.PathLike | None = None,
    *,
    resize: Resize = RESIZE,
) -> Benchmark:
    """The pairs of test.npz, in its order.

    Without `intrinsics`, the matrices are read from sceneXXXX_YY/intrinsic/intrinsic_depth.txt.
    """
    dataset = ScanNet(root, index, intrinsics=intrinsics, min_overlap=-math.inf)
    pairs = [_pair(pair) for scene in dataset.scenes for pair in dataset.pairs(scene)]
    return Benchmark(name=NAME, pairs=tuple(pairs), resize=resize, whole=WHOLE)


def _pair(posed: PosedPair) -> Pair:
    image0, image1 = (pathlib.Path(view.image) for view in (posed.view0, posed.view1))
    return Pair(
        set=NAME,
        name=f"{posed.scene} {image0.stem} {image1.stem}",
        cluster=posed.scene,
        overlap=None if math.isnan(posed.overlap) else posed.overlap,
        image0=image0,
        image1=image1,
        truth=PoseTruth(
            K0=_intrinsics(posed.view0),
            K1=_intrinsics(posed.view1),
            cam1_from_cam0=posed.cam1_from_cam0,
        ),
    )


def _intrinsics(view: View):
    """K in pixels of the colour picture [3 3]."""
    width, height = picture_size(pathlib.Path(view.image))
    return shrunk_intrinsics(view.K, (DEPTH_SIZE[0] / width, DEPTH_SIZE[1] / height))
