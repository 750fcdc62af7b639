"""HPatches, the full sequences: homographies under changes of viewpoint or of light, corner AUC.

    ROOT/v_adam/{1.ppm, ..., 6.ppm, H_1_2, ..., H_1_6}   v_: viewpoint, i_: illumination

Each sequence gives five pairs, picture 1 with the others; 108 sequences, 540 pairs. As D2-Net and
LoFTR do, eight sequences of very large pictures are left out.
"""

import os
import pathlib

import numpy as np
from jaxtyping import Float

from astr_jax.data.readers.bad_files import UnreadableFile
from astr_jax.evaluation.benchmarks.benchmark import Benchmark
from astr_jax.evaluation.benchmarks.headers import picture_size
from astr_jax.evaluation.benchmarks.pairs import Pair
from astr_jax.evaluation.benchmarks.resizing import Resize
from astr_jax.evaluation.benchmarks.truths import HomographyTruth

NAME = "hpatches"
RESIZE = Resize(short_side=480)
MAX_MATCHES = 1000
ESTIMATORS = ("ransac@3", "magsac@3")  # LoFTR's, and one that is less of a lottery
SEQUENCES, PAIRS_EACH = 116, 5
GROUPS = {"v": "viewpoint", "i": "illumination"}
VERY_LARGE = (
    "i_contruction",
    "i_crownnight",
    "i_dc",
    "i_pencils",
    "i_whitebuilding",
    "v_artisans",
    "v_astronautis",
    "v_talent",
)


def read(
    root: str | os.PathLike,
    *,
    resize: Resize = RESIZE,
    max_matches: int | None = MAX_MATCHES,
    keep_very_large: bool = False,
) -> Benchmark:
    """The pairs of every folder v_* and i_*, by name."""
    root = pathlib.Path(root)
    folders = sorted(path for kind in GROUPS for path in root.glob(f"{kind}_*") if path.is_dir())
    if not folders:
        raise FileNotFoundError(f"Expected the sequences v_*/ and i_*/ of HPatches in {root}.")
    kept = [folder for folder in folders if keep_very_large or folder.name not in VERY_LARGE]
    return Benchmark(
        name=NAME,
        pairs=tuple(
            _pair(folder, number) for folder in kept for number in range(2, 2 + PAIRS_EACH)
        ),
        resize=resize,
        max_matches=max_matches,
        homography_estimators=ESTIMATORS,
        whole=PAIRS_EACH * (SEQUENCES - (0 if keep_very_large else len(VERY_LARGE))),
    )


def _pair(folder: pathlib.Path, number: int) -> Pair:
    images = [folder / f"{n}.ppm" for n in (1, number)]
    for image in images:
        picture_size(image)
    return Pair(
        set=NAME,
        name=f"{folder.name} 1 {number}",
        group=GROUPS[folder.name[0]],
        cluster=folder.name,
        image0=images[0],
        image1=images[1],
        truth=HomographyTruth(homography=_read_homography(folder / f"H_1_{number}")),
    )


def _read_homography(path: pathlib.Path) -> Float[np.ndarray, "3 3"]:
    """Three rows of three numbers, as text: pixels of picture 1 to those of the other one."""
    try:
        matrix = np.array(path.read_text().split(), float).reshape(3, 3)
    except FileNotFoundError:
        raise UnreadableFile(path, "there is no such homography") from None
    except (ValueError, OSError) as error:
        raise UnreadableFile(path, f"expected three rows of three numbers ({error})") from None
    if not np.isfinite(matrix).all() or np.linalg.matrix_rank(matrix) < 3:
        raise UnreadableFile(path, "a homography must be finite and have an inverse")
    return matrix
