"""Pairs of images with known geometry, and the reading of lists of them.

An `index.json` lists `image0, image1` (paths beside it) and either `K0, K1, T_0to1` (camera 0 to
camera 1, translation up to scale) or `H_0to1` (pixels to pixels), and may have `checked` and
`overlap`. Pixels are those of the images turned as their EXIF says, centres at whole numbers.
"""

import collections
import dataclasses
import json
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float

ROTATION_TOLERANCE = 0.01  # of R^T R from 1, as files with few digits have it


def wrong_intrinsics(K: Float[np.ndarray, "3 3"]) -> str:
    """What a camera's matrix must have and lacks; "" where it is one."""
    if not np.allclose(K[2], [0, 0, 1]) or min(K[0, 0], K[1, 1]) <= 0:
        return "must have positive focal lengths and a last row of 0 0 1"
    return ""


def wrong_pose(pose: Float[np.ndarray, "4 4"]) -> str:
    """Likewise of a pose."""
    R = pose[:3, :3]
    rotation = np.abs(R.T @ R - np.eye(3)).max() < ROTATION_TOLERANCE and np.linalg.det(R) > 0
    if not rotation or not np.allclose(pose[3], [0, 0, 0, 1]):
        return "must be a rotation and a translation above a row of 0 0 0 1"
    return ""


def wrong_homography(H: Float[np.ndarray, "3 3"]) -> str:
    """Likewise of a homography."""
    return "" if np.linalg.matrix_rank(H) == 3 else "must have an inverse"


WRONG = {
    "K0": wrong_intrinsics,
    "K1": wrong_intrinsics,
    "T_0to1": wrong_pose,
    "H_0to1": wrong_homography,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """Two images and their true geometry, in pixels of the files: a pose or a homography."""

    set: str
    name: str  # unique in its set
    image0: pathlib.Path
    image1: pathlib.Path
    checked: bool = True  # the truth was confirmed by matches of this very pair, or is exact
    group: str = ""  # a part of the set: "viewpoint", a band of co-visibility, ...
    cluster: str = ""  # pairs of a sequence or a scan hang together; "": this one stands alone
    overlap: float | None = None  # share of the scene that both see, in [0, 1]; None: unknown
    K0: Float[np.ndarray, "3 3"] | None = None
    K1: Float[np.ndarray, "3 3"] | None = None
    cam1_from_cam0: Float[np.ndarray, "4 4"] | None = None
    homography: Float[np.ndarray, "3 3"] | None = None

    def __post_init__(self):
        known = {
            "K0": self.K0,
            "K1": self.K1,
            "T_0to1": self.cam1_from_cam0,
            "H_0to1": self.homography,
        }
        have = [key for key, matrix in known.items() if matrix is not None]
        if have not in (["K0", "K1", "T_0to1"], ["H_0to1"]):
            raise ValueError(
                f"{self.name} must have either K0, K1 and T_0to1, or H_0to1; "
                f"got {', '.join(have) or 'none'}."
            )
        for key in have:
            wrong = WRONG[key](known[key])
            if wrong:
                raise ValueError(f"{self.name}: {key} {wrong}; got {known[key].tolist()}.")


def read_pairs(
    directories: Iterable[str | pathlib.Path], names: Sequence[str] | None = None
) -> list[Pair]:
    """The pairs of DIR/index.json, or of every DIR/*/index.json, of each directory.

    A set is named by its folder; `names` keeps only these sets.
    """
    files: dict[str, pathlib.Path] = {}
    for directory in directories:
        root = pathlib.Path(directory).resolve()
        single = root / "index.json"
        found = [single] if single.exists() else sorted(root.glob("*/index.json"))
        if not found:
            raise ValueError(
                f"no index.json in {directory} nor in its sub-folders. Give a folder of pairs "
                "(an index.json beside its images) or a folder of such folders."
            )
        for file in found:
            if files.setdefault(file.parent.name, file) != file:
                raise ValueError(f"two sets are called {file.parent.name}; rename one folder.")
    unknown = sorted(set(names or ()) - set(files))
    if unknown:
        raise ValueError(f"there is no set {', '.join(unknown)}. There are: {', '.join(files)}.")
    return [
        pair for name, file in files.items() if not names or name in names for pair in _read(file)
    ]


def _read(file: pathlib.Path) -> list[Pair]:
    """The pairs of one index. Raises ValueError naming the file, the pair and the key."""
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not JSON: {error}.") from None
    if not isinstance(entries, list):
        raise ValueError(f"{file} must hold a list of pairs; got {type(entries).__name__}.")
    pairs = []
    for number, entry in enumerate(entries):
        try:
            pairs.append(_read_pair(file.parent, entry))
        except ValueError as error:
            raise ValueError(f"{file}, pair {number}: {error}") from None
    count = collections.Counter(pair.name for pair in pairs)
    return [
        pair if count[pair.name] == 1 else dataclasses.replace(pair, name=_paths(file.parent, pair))
        for pair in pairs
    ]


def _paths(folder: pathlib.Path, pair: Pair) -> str:
    """A name by paths, where that by stems is taken."""
    images = (pair.image0, pair.image1)
    return " ".join(image.relative_to(folder).with_suffix("").as_posix() for image in images)


def _read_pair(folder: pathlib.Path, entry: dict) -> Pair:
    if not isinstance(entry, dict):
        raise ValueError(f"a pair must be an object with image0, image1; got {entry!r}.")
    images = [_image_path(folder, entry, key) for key in ("image0", "image1")]
    checked = entry.get("checked", "H_0to1" in entry)
    if not isinstance(checked, bool):
        raise ValueError(f"checked must be true or false; got {checked!r}.")
    return Pair(
        set=folder.name,
        name=" ".join(image.stem for image in images),
        image0=images[0],
        image1=images[1],
        checked=checked,
        overlap=_share(entry, "overlap"),
        K0=_matrix(entry, "K0", (3, 3)),
        K1=_matrix(entry, "K1", (3, 3)),
        cam1_from_cam0=_matrix(entry, "T_0to1", (4, 4)),
        homography=_matrix(entry, "H_0to1", (3, 3)),
    )


def _image_path(folder: pathlib.Path, entry: dict, key: str) -> pathlib.Path:
    name = entry.get(key)
    if not isinstance(name, str):
        raise ValueError(f"{key} must be a path beside the index; got {name!r}.")
    if not (folder / name).is_file():
        raise ValueError(f"{key}: there is no file {folder / name}.")
    return folder / name


def _matrix(entry: dict, key: str, shape: tuple[int, int]) -> np.ndarray | None:
    if key not in entry:
        return None
    try:
        matrix = np.array(entry[key], np.float64)
    except (TypeError, ValueError):
        matrix = None
    if matrix is None or matrix.shape != shape or not np.isfinite(matrix).all():
        raise ValueError(f"{key} must be {shape[0]} rows of {shape[1]} numbers; got {entry[key]}.")
    return matrix


def _share(entry: dict, key: str) -> float | None:
    share = entry.get(key)
    if share is None:
        return None
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError(f"{key} must be a number in [0, 1]; got {share!r}.")
    return float(share)
