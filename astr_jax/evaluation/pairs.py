"""Pairs of images with known geometry: read, matched, estimated, and scored one by one.

An `index.json` lists `image0, image1` (paths beside it) and either `K0, K1, T_0to1` (camera 0 to
camera 1, translation up to scale) or `H_0to1` (pixels to pixels), and `checked`. Images are
turned as their EXIF says, made grey by Pillow's 'L' (a JPEG gives its own luma) and resized by area
averaging: the long side to 640, both sides down to multiples of 32. K and H follow. Everything is
measured at that working resolution.
"""

import dataclasses
import json
import pathlib
import time
from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps

from astr_jax import metrics
from astr_jax.evaluation import estimators

LONG_SIDE = 640  # pixels
MULTIPLE = 32  # both sides are rounded down to it
EPIPOLAR_THRESHOLDS = (5e-4, 1e-4)  # squared, on the plane at depth 1
HOMOGRAPHY_THRESHOLD = 3.0  # pixels

# match(img0, img1, K0=None, K1=None) -> keypoints0 [k 2], keypoints1 [k 2], confidence [k]
Matcher = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """Two images and their true geometry, in pixels of the files: a pose or a homography."""

    set: str
    name: str  # the two file names, without folder
    image0: pathlib.Path
    image1: pathlib.Path
    checked: bool  # the truth was confirmed by matches of this very pair, or is exact
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairRecord:
    """What one matcher made of one pair."""

    set: str
    name: str
    kind: str  # "pose": errors in degrees; "homography": errors in pixels
    checked: bool
    errors: dict[str, float]  # estimator -> error; inf where nothing was found
    precision: dict[str, float]  # threshold -> share of matches, 0 without matches
    num_matches: int
    seconds: float  # of the matcher alone
    failure: str | None = None  # the message, where the pair raised an error


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
    return pairs


def _read_pair(folder: pathlib.Path, entry: dict) -> Pair:
    if not isinstance(entry, dict):
        raise ValueError(f"a pair must be an object with image0, image1; got {entry!r}.")
    images = [_image_path(folder, entry, key) for key in ("image0", "image1")]
    return Pair(
        set=folder.name,
        name=" ".join(image.stem for image in images),
        image0=images[0],
        image1=images[1],
        checked=entry.get("checked", "H_0to1" in entry),
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


def load_image(
    path: pathlib.Path, *, long_side: int = LONG_SIDE, multiple: int = MULTIPLE
) -> tuple[UInt8[np.ndarray, "h w"], Float[np.ndarray, "3 3"]]:
    """A grey image at the working size, and the matrix from pixels of the file to its pixels.

    With pixel centres at whole numbers a resize by `a` takes x to (x + 0.5) a - 0.5, per axis.
    """
    with Image.open(path) as file:
        file.draft("L", file.size)
        grey = np.asarray(ImageOps.exif_transpose(file).convert("L"))
    height, width = grey.shape
    scale = long_side / max(width, height)
    new = [max(int(s * scale + 1e-6) // multiple * multiple, multiple) for s in (width, height)]
    ax, ay = new[0] / width, new[1] / height
    resize = np.array([[ax, 0, 0.5 * ax - 0.5], [0, ay, 0.5 * ay - 0.5], [0, 0, 1]], np.float64)
    return cv2.resize(grey, new, interpolation=cv2.INTER_AREA), resize


def evaluate_pair(
    matcher: Matcher, pair: Pair, *, long_side: int = LONG_SIDE, multiple: int = MULTIPLE
) -> PairRecord:
    """Matches one pair and scores it. Whatever raises becomes a failure with error inf."""
    posed = pair.homography is None
    names = estimators.POSE_ESTIMATORS if posed else estimators.HOMOGRAPHY_ESTIMATORS
    record = PairRecord(
        set=pair.set,
        name=pair.name,
        kind="pose" if posed else "homography",
        checked=pair.checked,
        errors=dict.fromkeys(names, float("inf")),
        precision=dict.fromkeys(_precision_names(posed), 0.0),
        num_matches=0,
        seconds=0.0,
    )
    start = time.perf_counter()
    try:
        img0, resize0 = load_image(pair.image0, long_side=long_side, multiple=multiple)
        img1, resize1 = load_image(pair.image1, long_side=long_side, multiple=multiple)
        K0, K1 = (resize0 @ pair.K0, resize1 @ pair.K1) if posed else (None, None)
        start = time.perf_counter()
        points0, points1, confidence = matcher(img0, img1, K0=K0, K1=K1)
        seconds = time.perf_counter() - start
        points0, points1 = _checked_points(points0, points1, confidence)
        if posed:
            scores = _score_pose(points0, points1, K0, K1, pair.cam1_from_cam0)
        else:
            homography = resize1 @ pair.homography @ np.linalg.inv(resize0)
            scores = _score_homography(points0, points1, homography, img0.shape)
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
        return dataclasses.replace(record, failure=failure, seconds=time.perf_counter() - start)
    return dataclasses.replace(record, num_matches=len(points0), seconds=seconds, **scores)


def evaluate_pairs(
    matcher: Matcher,
    pairs: Iterable[Pair],
    *,
    long_side: int = LONG_SIDE,
    multiple: int = MULTIPLE,
    on_record: Callable[[PairRecord], None] | None = None,
) -> list[PairRecord]:
    """Runs a matcher over all pairs, quietly; `on_record` hears of each pair as it is done."""
    records = []
    for pair in pairs:
        record = evaluate_pair(matcher, pair, long_side=long_side, multiple=multiple)
        records.append(record)
        if on_record is not None:
            on_record(record)
    return records


def _checked_points(points0, points1, confidence):
    points0, points1 = np.asarray(points0, np.float64), np.asarray(points1, np.float64)
    shapes = points0.shape, points1.shape, np.shape(confidence)
    if points0.shape != (len(points0), 2) or shapes != (shapes[0], shapes[0], shapes[0][:1]):
        raise ValueError(
            "a matcher must return keypoints0 [k 2], keypoints1 [k 2] and confidence [k]; "
            f"got the shapes {', '.join(map(str, shapes))}."
        )
    if not (np.isfinite(points0).all() and np.isfinite(points1).all()):
        raise ValueError("the matcher returned keypoints that are not finite.")
    return points0, points1


def _precision_names(posed: bool) -> list[str]:
    return [f"epi@{t:g}" for t in EPIPOLAR_THRESHOLDS] if posed else [f"{HOMOGRAPHY_THRESHOLD:g}px"]


def _score_pose(points0, points1, K0, K1, truth) -> dict:
    """Pose error in degrees by each estimator, and the epipolar precision at each threshold."""
    errors = {
        name: metrics.pose_error(estimate(points0, points1, K0, K1), truth)
        for name, estimate in estimators.POSE_ESTIMATORS.items()
    }
    shares = [
        metrics.epipolar_precision(points0, points1, truth, K0, K1, threshold=threshold)
        for threshold in EPIPOLAR_THRESHOLDS
    ]
    return {"errors": errors, "precision": dict(zip(_precision_names(True), shares, strict=True))}


def _score_homography(points0, points1, truth, size) -> dict:
    """Corner error in pixels by each estimator, and the share of matches near the truth."""
    errors = {
        name: metrics.corner_error(estimate(points0, points1), truth, size=size)
        for name, estimate in estimators.HOMOGRAPHY_ESTIMATORS.items()
    }
    share = metrics.homography_precision(points0, points1, truth, threshold=HOMOGRAPHY_THRESHOLD)
    return {"errors": errors, "precision": dict(zip(_precision_names(False), [share], strict=True))}
