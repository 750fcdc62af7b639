"""One pair with known geometry, made with NumPy and Pillow alone.

Two cameras look at one flat picture: 35 degrees between their axes, one 1.3 times as close and
rolled, in another light. The truth is a homography.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Real, UInt8
from PIL import Image

from astr_jax.geometry import warp_points

VIEW_CHANGE, SCALE, ROLL = 35.0, 1.3, 10.0  # degrees, ratio, degrees
SIZE = (480, 640)  # h, w of both images, where nothing else is said
Size = tuple[int, int]


class DemoPair(NamedTuple):
    """Two pictures of one plane; homography maps pixels of image 0 to pixels of image 1."""

    image0: UInt8[np.ndarray, "h w 3"]
    image1: UInt8[np.ndarray, "h w 3"]
    homography: Float[np.ndarray, "3 3"]
    visible0: Bool[np.ndarray, "h w"]  # image 0 shows the photograph, not what lies beyond it
    visible1: Bool[np.ndarray, "h w"]


def demo_pair(photo: UInt8[np.ndarray, "h w 3"], size: Size = SIZE) -> DemoPair:
    """Makes the pair from a photograph. The same photograph gives the same pair."""
    height, width = photo.shape[:2]
    middle = np.array([width - 1, height - 1]) / 2
    zoom = 1.12 * max(size[0] / height, size[1] / width)
    axis = 80.0  # the second camera stands to the side, and a little above
    view0 = view(middle, zoom, tilt=-6.0, axis=axis, roll=-2.0, size=size)
    aim = middle + 0.06 * np.array([width, -height])
    turned = {"tilt": VIEW_CHANGE - 6.0, "axis": axis, "roll": ROLL - 2.0}
    view1 = view(aim, zoom * SCALE, **turned, size=size)
    rng = np.random.default_rng(0)
    image0, visible0 = render(photo, view0, size)
    image1, visible1 = render(photo, view1, size)
    return DemoPair(
        _grain(image0, rng),
        _grain(_evening(image1), rng),
        view1 @ np.linalg.inv(view0),
        visible0,
        visible1,
    )


def view(
    target, zoom: float, *, tilt: float, axis: float, roll: float, size: Size = SIZE
) -> Float[np.ndarray, "3 3"]:
    """The homography from photograph pixels to image pixels, pixel centres at whole numbers.

    The optical axis meets the photograph at target (x, y), `tilt` degrees off its normal, turned
    about the line at `axis` degrees; zoom: image pixels per photograph pixel there.
    """
    focal = 1.2 * size[1]
    line = np.array([np.cos(np.radians(axis)), np.sin(np.radians(axis)), 0.0])
    rotation = turn(roll * np.array([0, 0, 1.0])) @ turn(tilt * line)
    camera = np.array([[focal, 0, (size[1] - 1) / 2], [0, focal, (size[0] - 1) / 2], [0, 0, 1]])
    move = np.array([[1, 0, -target[0]], [0, 1, -target[1]], [0, 0, 1]])
    return camera @ np.column_stack([rotation[:, :2], [0, 0, focal / zoom]]) @ move


def turn(degrees: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """The rotation about a vector by its length in degrees (Rodrigues)."""
    angle = np.radians(np.linalg.norm(degrees))
    x, y, z = np.asarray(degrees) / max(np.linalg.norm(degrees), 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def located(pair: DemoPair, points0) -> Float[np.ndarray, "k 2"]:
    """Where points of image 0 lie in image 1; NaN behind the camera."""
    return warp_points(pair.homography, points0, signed=True, beyond=np.nan)


def errors(pair: DemoPair, points0, points1) -> Float[np.ndarray, " k"]:
    """How far, in pixels of image 1, matches are from the truth."""
    off = np.linalg.norm(located(pair, points0) - points1, axis=1)
    return np.where(np.isfinite(off), off, np.inf)


def covisible(pair: DemoPair, points0: Real[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
    """Which whole-pixel points of image 0 show something that image 1 shows too."""
    x0, y0 = np.asarray(points0, int).T
    there = located(pair, points0)
    h, w = pair.visible1.shape
    inside = np.isfinite(there).all(axis=1) & (there >= 0).all(axis=1)
    inside &= (np.where(inside[:, None], there, np.inf) <= [w - 1, h - 1]).all(axis=1)
    x1, y1 = np.where(inside[:, None], there, 0).round().astype(int).T
    return pair.visible0[y0, x0] & inside & pair.visible1[y1, x1]


def render(
    photo: UInt8[np.ndarray, "h w 3"], view: Float[np.ndarray, "3 3"], size: Size = SIZE
) -> tuple[UInt8[np.ndarray, "H W 3"], Bool[np.ndarray, "H W"]]:
    """What the camera sees, at three times the size and then averaged, and where it sees it."""
    fine = 3
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    # Pillow's transform maps corners-at-whole-numbers coordinates from the output to the input.
    back = half @ np.linalg.inv(view) @ np.linalg.inv(half) @ np.diag([1 / fine, 1 / fine, 1])
    back = (back / back[2, 2]).ravel()[:8]
    large = size[1] * fine, size[0] * fine

    def seen(image, how):
        warped = image.transform(large, Image.Transform.PERSPECTIVE, tuple(back), how)
        return np.asarray(warped.resize(size[::-1], Image.Resampling.BOX))

    everywhere = Image.new("L", photo.shape[1::-1], 255)
    visible = seen(everywhere, Image.Resampling.NEAREST) == 255
    return seen(Image.fromarray(photo), Image.Resampling.BILINEAR), visible


def _evening(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Another light: more contrast, warmer, a shade across one side, and a brighter spot."""
    h, w = image.shape[:2]
    y, x = np.mgrid[:h, :w] / max(h, w)
    shade = 1 - 0.4 / (1 + np.exp(30 * (x + 0.5 * y - 0.45)))
    glow = 1 + 0.25 * np.exp(-((x - 0.75) ** 2 + (y - 0.2) ** 2) / 0.05)
    light = (shade * glow)[..., None] * np.array([1.08, 0.97, 0.82])
    toned = 255 * (image / 255.0) ** 1.3 * light
    return np.clip(toned, 0, 255).astype(np.uint8)


def _grain(image: UInt8[np.ndarray, "h w 3"], rng) -> UInt8[np.ndarray, "h w 3"]:
    return np.clip(image + rng.normal(0, 2.5, image.shape), 0, 255).astype(np.uint8)
