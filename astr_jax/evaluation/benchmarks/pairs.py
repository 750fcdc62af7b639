"""Pairs of images with known geometry, and the reading of lists of them.

An `index.json` lists `image0, image1`, paths beside it, and either `K0, K1, T_0to1` or `H_0to1`.
`T_0to1` is camera 0 to camera 1, with a translation up to scale; `H_0to1` is pixels to pixels. It
may have `checked` and `overlap`. Pixels are those of the images turned as their EXIF says, centres
at whole numbers.
"""

import collections
import dataclasses
import json
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from astr_jax.data.readers.calibration import check_principal_point
from astr_jax.evaluation.benchmarks.headers import upright_shape
from astr_jax.evaluation.benchmarks.truths import (
    MATRICES,
    HomographyTruth,
    PairTruth,
    PoseTruth,
    wrong_truth,
)
from astr_jax.geometry import rigid_pose


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """Two images and their true geometry, in pixels of the files."""

    set: str
    name: str  # unique in its set
    image0: pathlib.Path
    image1: pathlib.Path
    truth: PairTruth
    checked: bool = True  # the truth was confirmed by matches of this very pair, or is exact
    group: str = ""  # a part of the set: "viewpoint", a band of co-visibility, ...
    cluster: str = ""  # pairs of a sequence or a scan hang together; "": this one stands alone
    overlap: float | None = None  # share of the scene that both see, in [0, 1]; None: unknown

    def __post_init__(self):
        wrong = wrong_truth(self.truth)
        if wrong:
            raise ValueError(f"{self.name}: {wrong}")


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


def _read_pair(folder: pathlib.Path, entry: object) -> Pair:
    if not isinstance(entry, dict):
        raise ValueError(f"a pair must be an object with image0, image1; got {entry!r}.")
    images = [_image_path(folder, entry, key) for key in ("image0", "image1")]
    checked = entry.get("checked", "H_0to1" in entry)
    if not isinstance(checked, bool):
        raise ValueError(f"checked must be true or false; got {checked!r}.")
    name = " ".join(image.stem for image in images)
    pair = Pair(
        set=folder.name,
        name=name,
        image0=images[0],
        image1=images[1],
        checked=checked,
        overlap=_share(entry, "overlap"),
        truth=_read_truth(entry, name),
    )
    for image, K in zip(images, pair.truth.cameras.values(), strict=True):
        shape = upright_shape(image)
        if K is not None and shape is not None:
            check_principal_point(K, shape, image)
    return pair


def _read_truth(entry: dict, name: str) -> PairTruth:
    given = {key: _matrix(entry, key) for key in MATRICES if key in entry}
    match list(given):
        case ["K0", "K1", "T_0to1"]:
            K0, K1, cam1_from_cam0 = given.values()
            try:
                cam1_from_cam0 = rigid_pose(cam1_from_cam0)
            except ValueError as error:
                raise ValueError(f"{name}: T_0to1 {error}") from None
            return PoseTruth(K0=K0, K1=K1, cam1_from_cam0=cam1_from_cam0)
        case ["H_0to1"]:
            return HomographyTruth(homography=given["H_0to1"])
        case have:
            raise ValueError(
                f"{name} must have either K0, K1 and T_0to1, or H_0to1; "
                f"got {', '.join(have) or 'none'}."
            )


def _image_path(folder: pathlib.Path, entry: dict, key: str) -> pathlib.Path:
    name = entry.get(key)
    if not isinstance(name, str):
        raise ValueError(f"{key} must be a path beside the index; got {name!r}.")
    try:
        there = (folder / name).is_file()
    except OSError as error:  # such as a name that is too long
        raise ValueError(f"{key}: {name[:80]!r} is no path ({error.strerror}).") from None
    if not there:
        raise ValueError(f"{key}: there is no file {folder / name}.")
    return folder / name


def _matrix(entry: dict, key: str) -> np.ndarray:
    shape, _ = MATRICES[key]
    try:
        matrix = np.array(entry[key], np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = None
    if key == "T_0to1" and matrix is not None and matrix.shape == (3, 4):
        shape = (3, 4)  # the last row is known
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
