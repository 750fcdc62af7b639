"""Skies with clouds that drift, put into photographs: what looks distinct and yet must not match.

A photograph is taken for a plane, its sky for a part of it. Real clouds move, and are matched by
what has learnt from such planes alone: in the open their matches agree on a motion of their own.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

WIDTH = 320  # pixels across, at which skies are found
MAX_SLOPE = 5.0  # grey levels a pixel
MAX_GRAIN = 2.0  # grey levels
MIN_LEVEL = 70
MIN_SHARE, MIN_TOP = 0.04, 0.25  # of the area, and of the upper edge, that a sky takes
BRIGHTER = 15  # grey levels, than the rest of the photograph
OCTAVES = 6
DRIFT = 0.12  # of clouds at most: of their width, and in scale

Mask = Bool[np.ndarray, "h w"]


def find_sky(photo: UInt8[np.ndarray, "h w"]) -> Mask:
    """What may be sky: smooth, bright, and reaching the upper edge. Takes plain walls for it too;
    all False where there is none."""
    blurred = cv2.GaussianBlur(photo, (0, 0), 1.0)
    small = _shrunk(blurred).astype(np.float32)
    slope = np.hypot(*(cv2.Sobel(small, cv2.CV_32F, *d, scale=1 / 8) for d in ((1, 0), (0, 1))))
    grain = _shrunk(cv2.absdiff(photo, blurred))
    smooth = (slope < MAX_SLOPE) & (grain < MAX_GRAIN) & (small > MIN_LEVEL)
    smooth = cv2.erode(smooth.astype(np.uint8), np.ones((3, 3), np.uint8))
    _, label, stats, _ = cv2.connectedComponentsWithStats(smooth, connectivity=4)
    top = np.bincount(label[2], minlength=len(stats))
    is_sky = (stats[:, cv2.CC_STAT_AREA] > MIN_SHARE * small.size) & (
        top > MIN_TOP * small.shape[1]
    )
    is_sky[0] = False  # the background
    sky = is_sky[label]
    if not sky.any() or sky.all() or small[sky].mean() < small[~sky].mean() + BRIGHTER:
        return np.zeros(photo.shape, bool)
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    sky = cv2.morphologyEx(sky.astype(np.uint8), cv2.MORPH_CLOSE, around)  # no pepper
    sky = np.maximum.accumulate(sky[::-1], axis=0)[::-1]  # what is above sky is sky: clouds
    sky = cv2.dilate(sky, np.ones((3, 3), np.uint8))
    return cv2.resize(sky, photo.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0


def draw_skyline(size: tuple[int, int], rng: np.random.Generator) -> Mask:
    """What lies above a jagged line across a picture [h w]."""
    height, width = size
    count = int(rng.integers(3, 12))
    x = np.concatenate([[0], np.sort(rng.uniform(0, width, count)), [width]])
    y = height * np.clip(rng.uniform(0.15, 0.5) + rng.normal(0, 0.12, count + 2), 0.02, 0.8)
    line = np.stack([x, y], axis=-1)
    outline = np.concatenate([[[0, 0]], line, [[width, 0]]])
    mask = cv2.fillPoly(np.zeros(size, np.uint8), [np.rint(outline).astype(np.int32)], 1)
    return mask > 0


def draw_clouds(size: tuple[int, int], rng: np.random.Generator) -> Float[np.ndarray, "h w"]:
    """How much is cloud, in [0, 1]: fractal noise, wider than high, cut off below."""
    height, width = size
    flat, noise = rng.uniform(1.0, 3.0), np.zeros(size, np.float32)
    cells = rng.uniform(1.5, 5.0)
    for octave in range(OCTAVES):
        across = max(2, round(cells * 2**octave))
        down = max(2, round(across * flat * height / width))
        grid = rng.normal(0, 1, (down, across)).astype(np.float32)
        noise += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * 0.55**octave
    noise = (noise - noise.mean()) / noise.std()
    return np.clip((noise - rng.uniform(-0.8, 0.8)) / rng.uniform(0.3, 1.5), 0, 1)


def with_clouds(
    photo: UInt8[np.ndarray, "h w"], sky: Mask, rng: np.random.Generator
) -> tuple[UInt8[np.ndarray, "h w"], UInt8[np.ndarray, "h w"]]:
    """The photograph twice, the same clouds in its sky: the second time they have drifted."""
    height, width = (side // 2 for side in photo.shape)
    clouds = draw_clouds((height, width), rng)
    blue, white = rng.uniform(60, 200), rng.uniform(200, 255)
    share = cv2.GaussianBlur(sky.astype(np.float32), (0, 0), 1.0)
    views = []
    for drift in (0.0, DRIFT):
        grown = 1 + drift * rng.uniform(-1, 1)
        moved = drift * width * rng.uniform(-1, 1, 2)
        matrix = np.array([[grown, 0, moved[0]], [0, grown, moved[1]]])
        cover = cv2.warpAffine(clouds, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
        light = cv2.resize(blue + (white - blue) * cover, photo.shape[::-1])
        views.append((photo + share * (light - photo)).astype(np.uint8))
    return views[0], views[1]


def _shrunk(image: np.ndarray) -> np.ndarray:
    """At WIDTH pixels across."""
    scale = WIDTH / image.shape[1]
    size = (WIDTH, max(8, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
