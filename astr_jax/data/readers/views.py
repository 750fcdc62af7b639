"""One picture of a posed scene, and how it becomes arrays of the working size.

K and depth belong to the picture's pixels as stored in its file: COLMAP and depth sensors know
nothing of EXIF tags. The picture is turned upright by its tag, as in astr_jax.images; depth, K and
the camera turn with it.
"""

import dataclasses
import os
import pathlib
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from astr_jax.data.readers.bad_files import UnreadableFile
from astr_jax.data.readers.calibration import check_principal_point, checked_intrinsics, size_scale
from astr_jax.data.readers.depths import SparseDepth, nearest, read_depth
from astr_jax.geometry import camera_turn, shrunk_intrinsics, turned_camera, turned_shape
from astr_jax.images import UNREADABLE, check_photo, orientation, read_image, to_grey

# EXIF orientation: quarter turns against the clock that make the picture upright.
QUARTER_TURNS = {1: 0, 3: 2, 6: 3, 8: 1}
ASPECT_TOLERANCE = 0.02  # ScanNet's 1296 x 968 colour and 640 x 480 depth differ by 0.4 %


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """One picture with its camera.

    Depth is z-depth in the unit of the poses, 0 where unknown; its grid may be coarser or finer
    than the picture's and covers the same field of view.
    """

    name: str  # unique in the data set
    image: pathlib.Path | UInt8[np.ndarray, "h w"]
    K: Float[np.ndarray, "3 3"]  # pixel centres at whole numbers
    depth: pathlib.Path | Float[np.ndarray, "h1 w1"] | SparseDepth | None = None
    K_of_depth: bool = False  # K is in pixels of the depth map, not of the picture
    size_of_K: tuple[int, int] | None = None  # (h, w) of the stored picture that K is of, if known

    def __post_init__(self):
        checked_intrinsics(self.K, self.name)


class FittedView(NamedTuple):
    """A view's arrays at the working size, upright."""

    image: UInt8[np.ndarray, "h w"]
    depth: Float32[np.ndarray, "h w"]  # 0 = unknown
    K: Float[np.ndarray, "3 3"]
    upright_from_cam: Float[np.ndarray, "4 4"]  # turns the camera as the picture was turned


class PaddedView(NamedTuple):
    """A fitted view at the top left of a canvas of fixed size."""

    image: UInt8[np.ndarray, "H W"]
    mask: Bool[np.ndarray, "H W"]  # True on the picture
    depth: Float32[np.ndarray, "H W"]
    K: Float[np.ndarray, "3 3"]
    upright_from_cam: Float[np.ndarray, "4 4"]


def fit_view(view: View, size: tuple[int, int] | None) -> FittedView:
    """Reads a view and resizes it, up or down, to just fit into size (h, w); None keeps its size.

    K follows the pixels; depth is taken from the nearest one.
    """
    image, turns = _read_upright(view.image)
    _check_camera(view, image.shape[::-1] if turns % 2 else image.shape)
    depth = _upright_depth(read_depth(view.depth), turns, image.shape, view)
    grid = _grid_of_K(view, image.shape, turns, depth)
    before = turned_shape(grid, -turns % 4)
    K, upright = turned_camera(np.asarray(view.K, np.float64), before, turns), np.eye(4)
    upright[:3, :3] = camera_turn(turns)
    shape = image.shape if size is None else _fitted_shape(image.shape, size)
    K = shrunk_intrinsics(K, (grid[1] / shape[1], grid[0] / shape[0]))
    if isinstance(depth, SparseDepth):
        depth = depth.to_map(shape)
    elif depth is None:
        depth = np.zeros(shape, np.float32)
    else:
        depth = nearest(depth, shape)
    return FittedView(_resized(image, shape), depth, K, upright)


def _check_camera(view: View, stored: tuple[int, int]) -> None:
    """Raises UnreadableFile where K is of no picture of this shape, as stored."""
    name = view.image if isinstance(view.image, pathlib.Path) else view.name
    if view.size_of_K is not None:
        size_scale(view.size_of_K, stored, name)
    elif not view.K_of_depth:
        check_principal_point(np.asarray(view.K), stored, name)


def _grid_of_K(view: View, shape: tuple[int, int], turns: int, depth) -> tuple[int, int]:
    """(h, w) of the upright grid that a view's K is of."""
    if view.K_of_depth and depth is not None:
        return depth.shape
    size = view.size_of_K
    if size is None:
        return shape
    return size[::-1] if turns % 2 else size


def load_view(view: View, size: tuple[int, int]) -> PaddedView:
    """Fits a view into size (h, w) and pads it with zeros at the right and the bottom."""
    image, depth, K, upright = fit_view(view, size)
    pads = [(0, whole - part) for whole, part in zip(size, image.shape, strict=True)]
    mask = np.pad(np.ones(image.shape, bool), pads)
    return PaddedView(np.pad(image, pads), mask, np.pad(depth, pads), K, upright)


def _read_upright(image: os.PathLike | np.ndarray) -> tuple[np.ndarray, int]:
    """Grey uint8, upright, and the quarter turns against the clock that made it so."""
    if isinstance(image, np.ndarray):
        return check_photo(image, "the picture"), 0
    try:
        pixels = read_image(image, "the picture")
        tag = orientation(image)
        if tag not in QUARTER_TURNS:
            raise ValueError(
                f"its EXIF orientation {tag} mirrors it, and a camera cannot follow; remove the tag"
            )
        grey, _ = to_grey(pixels, "the picture")
    except UNREADABLE as error:
        raise UnreadableFile(image, str(error)) from None
    return np.round(grey[0] * 255).astype(np.uint8), QUARTER_TURNS[tag]


def _upright_depth(depth, turns: int, shape: tuple[int, int], view: View):
    """Turns the depth as the picture was turned, after a check that it is of the same picture."""
    if depth is None:
        return None
    depth = depth.turned(turns) if isinstance(depth, SparseDepth) else np.rot90(depth, turns)
    aspect = (depth.shape[1] / depth.shape[0]) / (shape[1] / shape[0])
    if abs(aspect - 1) > ASPECT_TOLERANCE:
        source = view.depth if isinstance(view.depth, pathlib.Path) else view.name
        raise UnreadableFile(
            source,
            f"depth of {depth.shape[1]} x {depth.shape[0]} does not belong to a picture of "
            f"{shape[1]} x {shape[0]} (both turned by the picture's EXIF tag); if depth was made "
            "from the upright picture, remove the tag",
        )
    return depth


def _fitted_shape(shape: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    scale = min(size[0] / shape[0], size[1] / shape[1])
    return tuple(
        min(whole, max(1, round(side * scale))) for side, whole in zip(shape, size, strict=True)
    )


def _resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if image.shape == shape:
        return image
    smaller = shape[0] < image.shape[0]
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(image, shape[::-1], interpolation=method)
