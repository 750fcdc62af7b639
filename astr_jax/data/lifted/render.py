"""A lifted photograph as a second camera sees it: the nearest plane of each pixel, and its texture.

Pixels are found backwards: from a pixel of the image by the plane's homography to the photograph.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from astr_jax.data.lifted.layers import Layers
from astr_jax.supervision import NOTHING

LEVELS = 4  # of a texture, each half the size of the one before
RIM = np.ones((3, 3), np.uint8)


class Seen(NamedTuple):
    """What a camera sees at each pixel, or at every so many."""

    layer: UInt8[np.ndarray, "h w"]  # the nearest plane; NOTHING where there is none
    x: Float[np.ndarray, "h w"]  # where in the photograph
    y: Float[np.ndarray, "h w"]
    level: Float[np.ndarray, "h w"]  # binary logarithm of the photograph's pixels per pixel


def see(
    layers: Layers,
    homographies: Float[np.ndarray, "k 3 3"],
    planes1: Float[np.ndarray, "k 3"],
    front: Bool[np.ndarray, " k"],
    K1: Float[np.ndarray, "3 3"],
    size: tuple[int, int],
    step: int = 1,
) -> Seen:
    """Which plane is the nearest at each pixel of an image of a size, or at every step-th one."""
    shape = -(-size[0] // step), -(-size[1] // step)
    layer = np.full(shape, NOTHING, np.uint8)
    x, y, level, nearest = (np.zeros(shape, np.float32) for _ in range(4))
    slopes = planes1 @ np.linalg.inv(K1)  # inverse depth, linear in the pixel
    for k in np.flatnonzero(front):
        mask = layers.layer if k < layers.first_thing else layers.thing
        box = cv2.boundingRect((mask == k).view(np.uint8))
        region = _region(homographies[k], box, size, step)
        if region is None:
            continue
        rows, columns = region
        inverse = np.linalg.inv(homographies[k])
        v = (np.arange(rows.start, rows.stop, dtype=np.float32) * step)[:, None]
        u = np.arange(columns.start, columns.stop, dtype=np.float32) * step
        a, b, w = (r[0] * u + (r[1] * v + r[2]) for r in inverse.astype(np.float32))
        s = slopes[k].astype(np.float32)
        depth = s[0] * u + (s[1] * v + s[2])
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = 1 / w
            px, py = a * scale, b * scale
        hit = cv2.remap(mask, px, py, cv2.INTER_NEAREST, borderValue=NOTHING) == k
        hit &= (w > 0) & (depth > nearest[region])
        for into, values in ((nearest, depth), (x, px), (y, py)):
            np.copyto(into[region], values, where=hit)
        layer[region][hit] = k
        # The photograph's pixels a pixel: the root of the Jacobian's determinant, det / w^3.
        size_of = 0.5 * np.log2(abs(np.linalg.det(inverse)))
        np.copyto(level[region], size_of + 1.5 * np.log2(np.where(hit, scale, 1)), where=hit)
    return Seen(layer, x, y, level)


def _region(homography, box, size, step):
    """The rows and columns (of every step-th) that a box of the photograph may come to."""
    x, y, width, height = box
    if not width:
        return None
    corners = np.array([[x, y], [x + width, y], [x, y + height], [x + width, y + height]]) - 0.5
    moved = np.c_[corners, np.ones(4)] @ homography.T
    if moved[:, 2].max() <= 0:
        return None
    if moved[:, 2].min() <= 1e-3 * moved[:, 2].max():
        low, high = np.zeros(2), np.array(size[::-1]) - 1.0
    else:
        at = moved[:, :2] / moved[:, 2:]
        low = np.maximum(at.min(axis=0), 0)
        high = np.minimum(at.max(axis=0), np.array(size[::-1]) - 1.0)
    if (low > high).any():
        return None
    (c0, r0), (c1, r1) = np.ceil(low / step).astype(int), np.floor(high / step).astype(int) + 1
    return (slice(r0, r1), slice(c0, c1)) if r1 > r0 and c1 > c0 else None


def paint(
    layers: Layers, seen: Seen, behind: UInt8[np.ndarray, "h w"] | None
) -> UInt8[np.ndarray, "h w"]:
    """The image of what is seen, and something else where nothing is; free of aliasing where the
    photograph is made smaller, edges of planes smoothed over a pixel.

    behind: what shows in holes; None: what is about them, blurred. Cracks between planes that meet
    close from both their sides.
    """
    image = textured(layers.photo, seen)
    things = (seen.layer != NOTHING) & (seen.layer >= layers.first_thing)
    if things.any():
        image = np.where(things, textured(layers.things, seen), image)
    hole = (seen.layer == NOTHING).view(np.uint8)
    wide = cv2.dilate(cv2.erode(hole, RIM), RIM) & hole
    if wide.any():
        behind = spread(image, hole == 0) if behind is None else behind
        image = cv2.copyTo(behind, wide, image)
    crack = hole & ~wide
    edge = cv2.morphologyEx(seen.layer, cv2.MORPH_GRADIENT, RIM)
    image = cv2.copyTo(cv2.medianBlur(image, 3), crack, image)
    smooth = cv2.GaussianBlur(image, (3, 3), 0.7)
    return cv2.copyTo(smooth, (edge > 0).view(np.uint8), image)


def spread(
    image: UInt8[np.ndarray, "h w"], known: Bool[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w"]:
    """What is known of an image, spread over the rest of it by ever smaller versions."""

    def whole(level, weight):  # level: of the image, times its weight
        if min(level.shape) > 2:
            share = np.minimum(1, 4 * cv2.pyrDown(weight))
            smaller = cv2.pyrDown(level) / np.maximum(cv2.pyrDown(weight), 1e-6) * share
            smaller = cv2.resize(whole(smaller, share), level.shape[::-1])
            return level + (1 - weight) * smaller
        return level / np.maximum(weight, 1e-6)

    weight = known.astype(np.float32)
    return np.clip(np.rint(whole(image * weight, weight)), 0, 255).astype(np.uint8)


def textured(photo: UInt8[np.ndarray, "h0 w0"], seen: Seen) -> UInt8[np.ndarray, "h w"]:
    """The photograph at the places seen, from versions of it as much smaller as they are seen
    there, linear between two of them."""
    level = np.clip(seen.level, 0, LEVELS - 1)
    image, coarser = _sampled(photo, seen, 0), photo
    for number in range(1, int(np.ceil(level.max())) + 1):
        coarser = cv2.pyrDown(coarser)
        share = np.clip(level - (number - 1), 0, 1)
        other = _sampled(coarser, seen, number)
        image = image + share * (other.astype(np.float32) - image)
    return np.rint(image).astype(np.uint8)


def _sampled(photo, seen: Seen, number: int):
    scale = np.float32(0.5**number)  # pixel 2 i of a version is pixel i of the next
    return cv2.remap(
        photo, seen.x * scale, seen.y * scale, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
