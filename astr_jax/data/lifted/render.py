"""A lifted photograph as a second camera sees it: the nearest plane of each pixel, and its texture.

Pixels are found backwards: from a pixel of the image by the plane's homography to the photograph.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

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
    x, y, shrink, nearest = (np.zeros(shape, np.float32) for _ in range(4))
    slopes = (planes1 @ np.linalg.inv(K1)).astype(np.float32)  # inverse depth, linear in the pixel
    inverses = np.linalg.inv(homographies)
    v = (np.arange(shape[0], dtype=np.float32) * step)[:, None]
    u = np.arange(shape[1], dtype=np.float32) * step
    for k, region in regions(layers.boxes, homographies, size, step).items():
        if not front[k]:
            continue
        rows, columns = v[region[0]], u[region[1]]
        a, b, w, depth = (
            r[0] * columns + (r[1] * rows + r[2])
            for r in (*inverses[k].astype(np.float32), slopes[k])
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = 1 / w
            a *= scale
            b *= scale
        mask = layers.layer if k < layers.first_thing else layers.thing
        hit = cv2.remap(mask, a, b, cv2.INTER_NEAREST, borderValue=NOTHING) == k
        hit &= (w > 0) & (depth > nearest[region])
        for into, values in ((nearest, depth), (x, a), (y, b), (shrink, scale)):
            np.copyto(into[region], values, where=hit)
        layer[region][hit] = k
    # The photograph's pixels a pixel: the root of the Jacobian's determinant, det / w^3.
    level = np.zeros(NOTHING + 1, np.float32)
    level[: len(inverses)] = 0.5 * np.log2(np.abs(np.linalg.det(inverses)))
    level = level[layer] + 1.5 * np.log2(np.where(layer == NOTHING, 1, shrink))
    return Seen(layer, x, y, level)


def regions(
    boxes: Int[np.ndarray, "k 4"], homographies: Float[np.ndarray, "k 3 3"], size, step: int
) -> dict[int, tuple[slice, slice]]:
    """The rows and columns, of every step-th, that each plane's box of the photograph may come to;
    planes that do not come into the image are left out."""
    first, last = boxes[:, :2] - 0.5, boxes[:, :2] + boxes[:, 2:] - 0.5
    x, y = np.stack([first, last], axis=-1).swapaxes(0, 1)  # [k 2] each
    corners = np.stack([np.repeat(x, 2, axis=1), np.tile(y, 2), np.ones((len(x), 4))], axis=1)
    moved = homographies @ corners  # [k 3 4]
    w = moved[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        at = moved[:, :2] / w[:, None]
    edge = np.array(size[::-1]) - 1.0
    whole = (w.min(axis=1) <= 1e-3 * w.max(axis=1))[:, None]  # some of it lies behind the camera
    low = np.where(whole, 0, np.maximum(at.min(axis=2), 0))
    high = np.where(whole, edge, np.minimum(at.max(axis=2), edge))
    there = (low <= high).all(axis=1) & (w.max(axis=1) > 0) & (boxes[:, 2] > 0)
    found = {}
    for k in np.flatnonzero(there).tolist():
        (c0, r0), (c1, r1) = np.ceil(low[k] / step).astype(int), (high[k] // step).astype(int) + 1
        if r1 > r0 and c1 > c0:
            found[k] = slice(r0, r1), slice(c0, c1)
    return found


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
