"""Textures of the worlds: photographs and painted patterns, with all their smaller versions.

Textures are square and even in brightness and contrast, so that no surface is black. Their
patterns repeat on purpose: rows of windows, tiles, bricks, and noise without any form.
"""

from collections.abc import Sequence

import cv2
import flax.struct
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8

from astr_jax.images import check_photo
from pallas_kernels.arrays import Array

FAMILIES = ("windows", "tiles", "bricks", "noise")
PER_FAMILY = 8  # patterns of each
MEAN, DEVIATION = 0.5, 0.21  # of every texture, grey in [0, 1]


@flax.struct.dataclass
class Atlas:
    """All textures and their smaller versions in one row, so that one gather reads any texel.

    First all textures at full size, one after the other, then all at half the size, and so on down
    to 1 x 1. Photographs come first, then the families in their order.
    """

    texels: UInt8[Array, " texels"]
    photos: int = flax.struct.field(pytree_node=False)
    side: int = flax.struct.field(pytree_node=False)  # of a texture, a power of two

    @property
    def count(self) -> int:
        return self.photos + PER_FAMILY * len(FAMILIES)

    def family(self, name: str) -> int:
        """The index of the first texture of a family."""
        return self.photos + PER_FAMILY * FAMILIES.index(name)


def atlas_of_some(photos: Sequence[np.ndarray], seed: int, *, most: int, side: int) -> Atlas:
    """make_atlas of at most so many of the photographs, drawn by the seed."""
    chosen = np.random.default_rng(seed).permutation(len(photos))[:most]
    return make_atlas([photos[i] for i in chosen], seed, side=side)


def make_atlas(photos: Sequence[np.ndarray], seed: int = 0, *, side: int = 512) -> Atlas:
    """Makes an atlas from grey photographs [h w] uint8: of each, one random square."""
    if side < 16 or side & (side - 1):
        raise ValueError(f"side must be a power of two, at least 16; got {side}.")
    if len(photos) == 0:
        raise ValueError("An atlas needs at least one photograph; got none.")
    rng = np.random.default_rng(seed)
    squares = [square_of(check_photo(photo, "a photograph"), rng, side) for photo in photos]
    paint = dict(
        zip(FAMILIES, (paint_windows, paint_tiles, paint_bricks, paint_noise), strict=True)
    )
    squares += [paint[name](rng, side) for name in FAMILIES for _ in range(PER_FAMILY)]
    level = np.stack([evened(square) for square in squares])
    levels = []
    while True:
        levels.append(np.rint(level * 255).astype(np.uint8).ravel())
        if level.shape[1] == 1:
            return Atlas(jnp.asarray(np.concatenate(levels)), len(photos), side)
        t, half = len(level), level.shape[1] // 2
        level = level.reshape(t, half, 2, half, 2).mean(axis=(2, 4))


def square_of(photo: UInt8[np.ndarray, "h w"], rng, side: int) -> Float[np.ndarray, "s s"]:
    """Cuts a large random square out of a photograph and brings it to size."""
    cut = int(min(photo.shape) * rng.uniform(0.75, 1.0))
    y, x = (rng.integers(0, length - cut + 1) for length in photo.shape)
    how = cv2.INTER_AREA if cut > side else cv2.INTER_CUBIC
    return cv2.resize(photo[y : y + cut, x : x + cut], (side, side), interpolation=how) / 255.0


def evened(square: Float[np.ndarray, "s s"]) -> Float[np.ndarray, "s s"]:
    """Brings mean and contrast to those of every texture."""
    away = square - square.mean()
    return np.clip(MEAN + away * (DEVIATION / max(away.std(), 1e-3)), 0, 1)


def paint_noise(rng: np.random.Generator, side: int) -> Float[np.ndarray, "s s"]:
    """Paints noise whose grain has all sizes; how rough it is is drawn."""
    roughness, square, cells = rng.uniform(0.45, 0.8), np.zeros((side, side)), 4
    while cells <= side:
        grain = rng.normal(size=(cells, cells)) * roughness ** np.log2(cells)
        square += cv2.resize(grain, (side, side), interpolation=cv2.INTER_CUBIC)
        cells *= 2
    return evened(square)


def paint_windows(rng: np.random.Generator, side: int) -> Float[np.ndarray, "s s"]:
    """Paints rows of nearly equal windows with frames and bars on a rough wall."""
    square = 0.62 + 0.25 * (paint_noise(rng, side) - MEAN)
    columns, rows = rng.integers(3, 6), rng.integers(3, 6)
    wide, high = side / columns, side / rows
    w, h = wide * rng.uniform(0.35, 0.65), high * rng.uniform(0.4, 0.75)
    frame, glass, bars = rng.uniform(0.75, 1.0), rng.uniform(0.05, 0.35), rng.integers(1, 4)
    line = max(1, side // 128)
    for row in range(rows):
        if rng.random() < 0.3:
            cv2.rectangle(square, (0, int(row * high)), (side, int(row * high + 3 * line)), 0.8, -1)
        for column in range(columns):
            x, y = int(column * wide + (wide - w) / 2), int(row * high + (high - h) / 2)
            right, bottom = int(x + w), int(y + h)
            cv2.rectangle(
                square,
                (x - 3 * line, y - 3 * line),
                (right + 3 * line, bottom + 4 * line),
                frame,
                -1,
            )
            shade = np.clip(glass + rng.normal(0, 0.08), 0, 1)
            cv2.rectangle(square, (x, y), (right, bottom), shade, -1)
            if rng.random() < 0.3:  # a blind
                cv2.rectangle(square, (x, y), (right, int(y + h * rng.uniform(0.2, 0.7))), 0.6, -1)
            for bar in range(1, bars + 1):
                middle = int(x + w * bar / (bars + 1))
                cv2.line(square, (middle, y), (middle, bottom), frame, line)
            cv2.line(square, (x, int(y + 0.35 * h)), (right, int(y + 0.35 * h)), frame, line)
    return square


def paint_tiles(rng: np.random.Generator, side: int) -> Float[np.ndarray, "s s"]:
    """Paints a floor of square tiles, some in two tones, each a little different."""
    count = int(rng.choice([4, 8, 16]))
    tone = rng.normal(0.5, rng.uniform(0.03, 0.12), (count, count))
    if rng.random() < 0.5:
        tone += rng.uniform(0.1, 0.3) * (np.indices((count, count)).sum(axis=0) % 2)
    square = np.kron(tone, np.ones((side // count, side // count)))
    joint = max(1, side // (count * 24))
    for line in range(count):
        at = line * (side // count)
        square[at : at + joint] = square[:, at : at + joint] = rng.uniform(0.1, 0.3)
    return square + rng.uniform(0.1, 0.4) * (paint_noise(rng, side) - MEAN)


def paint_bricks(rng: np.random.Generator, side: int) -> Float[np.ndarray, "s s"]:
    """Paints courses of bricks or stones, each shifted against the one below."""
    courses = int(rng.choice([8, 16, 32]))
    high, wide = side // courses, side // courses * int(rng.integers(2, 4))
    square = np.full((side, side), rng.uniform(0.65, 0.9))
    joint, spread = max(1, high // 8), rng.uniform(0.04, 0.15)
    for course in range(courses):
        x = -int(wide * (0.5 * (course % 2) + 0.05 * rng.random()))
        while x < side:
            tone, end = rng.normal(0.4, spread), x + wide - joint
            square[course * high + joint : (course + 1) * high, max(x, 0) : max(end, 0)] = tone
            x += wide
    return square + rng.uniform(0.15, 0.5) * (paint_noise(rng, side) - MEAN)


def sample(
    atlas: Atlas,
    texture: Int[Array, " n"],
    u: Float[Array, " n"],
    v: Float[Array, " n"],
    lod: Float[Array, " n"],
) -> Float[Array, " n"]:
    """Reads textures, linear in place and in size. Beyond [0, 1] they go on, mirrored.

    u, v: place in the texture, its sides being 1. lod: the binary logarithm of the size, in
    full-size texels, of what one pixel sees; 0 or less reads the full size.
    """
    levels = atlas.side.bit_length() - 1
    lod = jnp.clip(lod, 0.0, levels)
    finer = jnp.minimum(lod.astype(jnp.int32), levels - 1)
    share = lod - finer.astype(lod.dtype)
    u, v = [jnp.abs(x - 2 * jnp.round(x / 2)) for x in (u, v)]
    near = _bilinear(atlas, texture, u, v, finer)
    return near + share * (_bilinear(atlas, texture, u, v, finer + 1) - near)


def _bilinear(atlas, texture, u, v, level):
    """Reads one level; u and v in [0, 1]."""
    side = jnp.right_shift(atlas.side, level)
    # The levels before this one hold side^2 (1 + 1/4 + ...) texels of each texture.
    before = (4 * (atlas.side**2 - side * side)) // 3 * atlas.count
    start = before + texture * side * side
    limit = (side - 1).astype(jnp.float32)
    x, y = (jnp.clip(p * side.astype(p.dtype) - 0.5, 0.0, limit) for p in (u, v))
    x0, y0 = x.astype(jnp.int32), y.astype(jnp.int32)
    x1, y1 = jnp.minimum(x0 + 1, side - 1), jnp.minimum(y0 + 1, side - 1)
    fx, fy = x - x0.astype(x.dtype), y - y0.astype(y.dtype)

    def read(x, y):
        return atlas.texels[start + y * side + x].astype(jnp.float32) / 255

    top = read(x0, y0) + fx * (read(x1, y0) - read(x0, y0))
    bottom = read(x0, y1) + fx * (read(x1, y1) - read(x0, y1))
    return top + fy * (bottom - top)
