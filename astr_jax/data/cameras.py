"""Virtual cameras that look at a photograph lying flat in the plane z = 0.

A *view* is the homography [3 3] from photograph pixels to image pixels, view = K [r1 r2 t] T, with
T moving the point looked at to the origin. Its third row gives depth: view @ (x, y, 1) = depth *
(u, v, 1), and depth > 0 in front of the camera. Depth is in photograph pixels. Pixel centres are
at whole numbers, in the photograph and in the image alike.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from astr_jax.geometry import resize_matrix, warp_points


def view_from_photo(
    *,
    target: tuple[float, float],
    zoom: float,
    tilt: float,
    tilt_axis: float,
    roll: float,
    focal: float,
    size: tuple[int, int],
) -> Float[np.ndarray, "3 3"]:
    """Returns the view of a camera whose optical axis meets the photograph at target.

    Args:
      target: (x, y), photograph pixels; seen at the centre of the image.
      zoom: image pixels per photograph pixel at the target, along the tilt axis.
      tilt: angle between the optical axis and the photograph's normal, radians.
      tilt_axis: direction in the photograph about which the camera tilts, radians.
      roll: rotation about the optical axis, radians.
      focal: focal length in image pixels.
      size: (height, width) of the image.
    """
    height, width = size
    x, y = np.cos(tilt_axis), np.sin(tilt_axis)
    tilted = cv2.Rodrigues(tilt * np.array([x, y, 0.0]))[0]
    rotation = cv2.Rodrigues(np.array([0.0, 0.0, roll]))[0] @ tilted
    camera = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    move = np.array([[1, 0, -target[0]], [0, 1, -target[1]], [0, 0, 1]])
    distance = np.array([0, 0, focal / zoom])
    return camera @ np.column_stack([rotation[:, :2], distance]) @ move


def frame(size: tuple[int, int]) -> Float[np.ndarray, "4 2"]:
    """Lists the centres (x, y) of the four corner pixels of an image of size (height, width)."""
    height, width = size
    return np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], float)


def depth_range(view: Float[np.ndarray, "3 3"], size: tuple[int, int]) -> float:
    """Returns farthest / nearest depth in the image; infinite where the image shows the horizon."""
    back = np.linalg.inv(view)
    inverse_depth = frame(size) @ back[2, :2] + back[2, 2]  # linear in the image, so extremal here
    nearest, farthest = inverse_depth.max(), inverse_depth.min()
    return float(nearest / farthest) if farthest > 0 else np.inf


def common_shares(
    view0: Float[np.ndarray, "3 3"],
    view1: Float[np.ndarray, "3 3"],
    photo_size: tuple[int, int],
    size: tuple[int, int],
) -> tuple[float, float]:
    """Returns the shares of image 0 and image 1 that show a part of the photograph seen in both.

    Exact for views without a horizon: all regions are convex polygons in the photograph.
    """
    corners = frame(size)
    common = frame(photo_size).astype(np.float32)
    for view in (view0, view1):
        footprint = warp_points(np.linalg.inv(view), corners, signed=True).astype(np.float32)
        area, common = cv2.intersectConvexConvex(common, footprint)
        if area <= 0 or common is None:
            return 0.0, 0.0
        common = common[:, 0]
    whole = (size[0] - 1) * (size[1] - 1)
    areas = [
        cv2.contourArea(warp_points(v, common, signed=True).astype(np.float32))
        for v in (view0, view1)
    ]
    return areas[0] / whole, areas[1] / whole


def inside_photo(
    view: Float[np.ndarray, "3 3"], photo_size: tuple[int, int], size: tuple[int, int]
) -> Bool[np.ndarray, "H W"]:
    """Marks the image pixels whose ray meets the photograph in front of the camera."""
    back = np.linalg.inv(view)
    x, y, w = back[0], back[1], back[2]
    # Lines in the image, each >= 0 inside; the first two add up to w > 0: before the camera.
    lines = (x, (photo_size[1] - 1) * w - x, y, (photo_size[0] - 1) * w - y)
    u, v = np.arange(size[1]), np.arange(size[0])[:, None]
    inside = np.ones(size, bool)
    for a, b, c in lines:
        inside &= a * u >= -(b * v + c)
    return inside


def render(
    photo: UInt8[np.ndarray, "h w"],
    view: Float[np.ndarray, "3 3"],
    size: tuple[int, int],
) -> UInt8[np.ndarray, "H W"]:
    """Samples the photograph as the camera sees it, free of aliasing where it is made smaller.

    The photograph is first shrunk by area until the finest place of the view needs no further
    shrinking; what foreshortening and perspective still minify is sampled at double resolution.
    Beyond its edge the photograph goes on, mirrored.
    """
    finest, coarsest = _zoom_range(view, size)
    matrix, shrink = view, 1.0
    if finest < 0.95:
        height, width = (max(2, round(side * finest)) for side in photo.shape)
        matrix = matrix @ np.linalg.inv(resize_matrix(photo.shape, (height, width)))
        shrink = finest
        photo = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    if coarsest > 0.7 * shrink:
        return _warp(photo, matrix, size)
    double = (2 * size[0], 2 * size[1])
    image = _warp(photo, resize_matrix(size, double) @ matrix, double)
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)


def _warp(photo, matrix, size):
    return cv2.warpPerspective(
        photo, matrix, size[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )


def _zoom_range(view: Float[np.ndarray, "3 3"], size: tuple[int, int]) -> tuple[float, float]:
    """Returns the largest and smallest image pixels per photograph pixel, over all directions.

    Taken over the image's corners and centre: singular values of d(u, v)/d(x, y).
    """
    height, width = size
    points = np.vstack([frame(size), [(width - 1) / 2, (height - 1) / 2]])
    back = np.linalg.inv(view)
    scaled = points @ back[:, :2].T + back[:, 2]  # [5 3], the last is 1 / depth
    inverse_depth = scaled[:, 2, None, None]
    rows = np.broadcast_to(view[:2, :2], (5, 2, 2))
    jacobian = (rows - points[:, :, None] * view[2, :2]) * inverse_depth
    values = np.linalg.svd(jacobian, compute_uv=False)
    return float(values.max()), float(values.min())
