"""Depth of one picture, from the files that data sets keep it in. 0 = unknown."""

import dataclasses
import pathlib

import cv2
import numpy as np
from jaxtyping import Float, Float32

from astr_jax.data.readers.bad_files import UnreadableFile
from astr_jax.images import UNREADABLE, stored_shape

PNG_UNITS = 1000  # of a 16-bit PNG to one unit of the poses: millimetres to metres
MOST_PIXELS = 100_000_000  # of a depth map
REACH = 4.0  # pixels of the working image: half a coarse cell


@dataclasses.dataclass(frozen=True, eq=False)
class SparseDepth:
    """Depth at a few points only, such as the triangulated points of a COLMAP model."""

    points: Float[np.ndarray, "n 2"]  # (x, y), pixels of the picture as stored
    depth: Float[np.ndarray, " n"]
    shape: tuple[int, int]  # of that picture, (h, w)

    def turned(self, turns: int) -> "SparseDepth":
        """As np.rot90 turns a picture: quarter turns against the clock."""
        points, (h, w) = self.points, self.shape
        for _ in range(turns):
            points = np.stack([points[:, 1], w - 1 - points[:, 0]], axis=-1)
            h, w = w, h
        return SparseDepth(points, self.depth, (h, w))

    def to_map(self, shape: tuple[int, int], reach: float = REACH) -> Float32[np.ndarray, "h w"]:
        """A map of the given shape: each pixel has the depth of the nearest point within reach.

        The coarse matches are supervised at the centres of cells; without reach hardly any of
        them would have a depth.
        """
        scale = np.array([self.shape[1] / shape[1], self.shape[0] / shape[0]])
        xy = np.round((self.points + 0.5) / scale - 0.5).astype(int)
        inside = ((xy >= 0) & (xy < shape[::-1])).all(axis=-1) & (self.depth > 0)
        if not inside.any():
            return np.zeros(shape, np.float32)
        x, y = xy[inside].T
        far = np.ones(shape, np.uint8)
        far[y, x] = 0
        distance, label = cv2.distanceTransformWithLabels(
            far, cv2.DIST_L2, cv2.DIST_MASK_PRECISE, labelType=cv2.DIST_LABEL_PIXEL
        )
        depth_of = np.zeros(label.max() + 1, np.float32)
        order = np.argsort(-self.depth[inside])  # where two points share a pixel, the nearer stays
        depth_of[label[y, x][order]] = self.depth[inside][order]
        return np.where(distance <= reach, depth_of[label], np.float32(0))


def read_depth(
    depth: pathlib.Path | np.ndarray | SparseDepth | None,
) -> Float32[np.ndarray, "h w"] | SparseDepth | None:
    """Reads a depth map: .h5 (key `depth`), .png (16 bits, thousandths), .bin (COLMAP's).

    Not a number, infinity and negative depth count as unknown.
    """
    if depth is None or isinstance(depth, SparseDepth):
        return depth
    if isinstance(depth, np.ndarray):
        metric = depth.astype(np.float32)
    else:
        metric = _read_file(pathlib.Path(depth))
    return np.where(np.isfinite(metric) & (metric > 0), metric, np.float32(0))


def nearest(depth: Float[np.ndarray, "h w"], shape: tuple[int, int]) -> Float[np.ndarray, "h1 w1"]:
    """Resizes by nearest pixel: pixel x' takes x = (x' + 0.5) * a - 0.5, rounded."""
    rows, columns = (
        np.floor((np.arange(new) + 0.5) * old / new).astype(int)
        for old, new in zip(depth.shape, shape, strict=True)
    )
    return depth[np.ix_(rows, columns)]


def _read_file(path: pathlib.Path) -> np.ndarray:
    readers = {".h5": _read_h5, ".png": _read_png, ".bin": _read_bin}
    if path.suffix not in readers:
        raise ValueError(f"Depth must be a file ending in {', '.join(readers)}; got {path}.")
    if not path.is_file():
        raise UnreadableFile(path, "there is no such depth file")
    depth = readers[path.suffix](path)
    if depth.ndim != 2 or 0 in depth.shape:
        raise UnreadableFile(path, f"depth must be [h w]; got the shape {depth.shape}")
    return depth.astype(np.float32)


def _read_h5(path: pathlib.Path) -> np.ndarray:
    import h5py  # of the extra `data`

    try:
        with h5py.File(path, "r") as file:
            depth = file["depth"]
            if depth.size > MOST_PIXELS:
                raise ValueError(f"{depth.shape} is no size of a depth map")
            return np.asarray(depth, np.float32)
    except (*UNREADABLE, LookupError, AttributeError, RuntimeError, MemoryError) as error:
        raise UnreadableFile(path, f"no HDF5 file with the key `depth` ({error})") from None


def _read_png(path: pathlib.Path) -> np.ndarray:
    try:
        stored_shape(path)  # by the header: a damaged one may ask for gigabytes
        raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    except (*UNREADABLE, cv2.error):
        raw = None
    if raw is None or raw.dtype != np.uint16:
        came = "nothing that decodes" if raw is None else str(raw.dtype)
        raise UnreadableFile(path, f"depth must be a 16-bit PNG in thousandths; got {came}")
    return raw.astype(np.float32) / PNG_UNITS


def _read_bin(path: pathlib.Path) -> np.ndarray:
    """COLMAP's dense maps: the text `width&height&channels&`, then float32, row by row."""
    content = path.read_bytes()
    try:
        *sides, values = content.split(b"&", 3)
        width, height, channels = (int(side) for side in sides)
        if channels != 1 or len(values) != 4 * width * height:
            raise ValueError(f"{width} x {height} x {channels} in {len(values)} bytes")
        return np.frombuffer(values, "<f4").reshape(height, width)
    except ValueError as error:
        raise UnreadableFile(path, f"no depth map of COLMAP ({error})") from None
