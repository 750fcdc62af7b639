"""A painted hillside town: a scene of our own, rich in detail and without two equal houses."""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

WALLS = ("#e8d5b0", "#d98e5f", "#c9b79c", "#e3c16f", "#b9694a", "#d9d4c7", "#9fb1a8", "#cf8f86")
ROOFS = ("#a3492f", "#8a3b2a", "#b4613c", "#6e4a3a", "#7d5b52", "#5f6b73")
LEAVES = ("#2f4a2c", "#45622f", "#5d7436", "#38543f", "#6f7f3a")
SHUTTERS = ("#37596b", "#46624a", "#7a3f35", "#5a4a6b", "#3c3a38", "#8a7a4a")


def paint_town(seed: int = 7, size: tuple[int, int] = (1200, 1600)) -> UInt8[np.ndarray, "h w 3"]:
    """Paints the town, from the sky down to the nearest houses. The same seed, the same town."""
    rng = np.random.default_rng(seed)
    height, width = size
    image = Image.fromarray(_sky(rng, size))
    draw = ImageDraw.Draw(image)
    _hills(draw, rng, size)
    y = 0.36 * height
    while y < 1.12 * height:
        near = (y / height - 0.36) / 0.76  # 0 far, 1 near
        house = height * (0.05 + 0.16 * near)
        _row(draw, rng, y, house, width)
        y += house * rng.uniform(0.42, 0.55)
    return _weathered(np.asarray(image, np.float32), rng)


def _row(draw, rng, y: float, house: float, width: int) -> None:
    """One row of houses and trees with their feet at about height y."""
    x = -house * rng.uniform(0, 1)
    while x < width:
        span = house * rng.uniform(0.55, 1.25)
        if rng.random() < 0.8:
            foot = y + house * rng.uniform(-0.18, 0.18)
            _house(draw, rng, x, foot, span, house * rng.uniform(0.6, 1.15))
        if rng.random() < 0.45:
            _tree(draw, rng, x + span * rng.uniform(0, 1), y, house * rng.uniform(0.2, 0.45))
        x += span * rng.uniform(0.85, 1.1)


def _house(draw, rng, x: float, foot: float, w: float, h: float) -> None:
    """Walls in light and shade, a roof, windows, a door, a chimney."""
    wall = _shade(rng.choice(WALLS), rng.uniform(0.82, 1.1))
    roof, shutter = rng.choice(ROOFS), rng.choice(SHUTTERS)
    top, peak = foot - h, foot - h - w * rng.uniform(0.18, 0.5)
    ridge = x + w * rng.uniform(0.3, 0.7)
    corner = x + w * rng.uniform(0.6, 0.85)  # where the shaded side begins
    draw.rectangle((x, top, x + w, foot + h), fill=wall)
    draw.rectangle((corner, top, x + w, foot + h), fill=_shade(wall, 0.72))
    if rng.random() < 0.6:
        c, side = x + w * rng.uniform(0.15, 0.75), 0.1 * w
        draw.rectangle((c, peak - side, c + side, top), fill=_shade(roof, 0.75))
        draw.rectangle((c - 2, peak - side - 3, c + side + 2, peak - side), fill="#4a4038")
    eave = 0.06 * w
    draw.polygon([(x - eave, top), (ridge, peak), (x + w + eave, top)], fill=roof)
    for k in range(2, 3 + int((top - peak) / 7)):  # courses of tiles
        level = top - 7 * (k - 1)
        share = (top - level) / (top - peak)
        if share < 1:
            ends = (
                x - eave + share * (ridge - x + eave),
                x + w + eave - share * (x + w + eave - ridge),
            )
            draw.line((ends[0], level, ends[1], level), fill=_shade(roof, rng.uniform(0.7, 1.25)))
    columns, rows = int(rng.integers(2, 5)), int(rng.integers(1, 4))
    for row in range(rows):
        for column in range(columns):
            if rng.random() < 0.8:
                _window(
                    draw,
                    rng,
                    x + w * (column + rng.uniform(0.2, 0.45)) / columns,
                    top + h * (row + rng.uniform(0.15, 0.3)) / rows * 0.95,
                    w / columns * rng.uniform(0.3, 0.5),
                    h / rows * rng.uniform(0.35, 0.6),
                    shutter,
                )


def _window(draw, rng, x, y, w, h, shutter) -> None:
    glass = _shade("#3a4650" if rng.random() < 0.75 else "#f0cf7a", rng.uniform(0.7, 1.25))
    draw.rectangle((x - 1.5, y - 1.5, x + w + 1.5, y + h + 1.5), fill=_shade("#efe8da", 0.95))
    draw.rectangle((x, y, x + w, y + h), fill=glass)
    draw.line((x + w / 2, y, x + w / 2, y + h), fill="#d8d0c0")
    if rng.random() < 0.6:
        for side in (x - 0.45 * w - 2, x + w + 2):
            if rng.random() < 0.85:
                draw.rectangle((side, y - 1, side + 0.45 * w, y + h + 1), fill=shutter)
    if rng.random() < 0.3:  # a box of flowers
        for k in range(int(w / 3)):
            colour = ("#c8434f", "#e0a03c", "#4f7a3a")[int(rng.integers(3))]
            at = x + 3 * k, y + h + rng.uniform(0, 4)
            draw.ellipse((*at, at[0] + 4, at[1] + 4), fill=colour)


def _tree(draw, rng, x: float, y: float, r: float) -> None:
    draw.rectangle((x - 0.07 * r, y - 0.5 * r, x + 0.07 * r, y + 0.6 * r), fill="#4a3a2c")
    tall = rng.uniform(0.9, 2.2)
    for _ in range(60):
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0, 1) ** 0.5
        at = x + 0.75 * r * far * np.cos(angle), y - r * tall + r * tall * far * np.sin(angle)
        size = r * rng.uniform(0.08, 0.28)
        leaf = _shade(rng.choice(LEAVES), rng.uniform(0.75, 1.35) - 0.25 * np.sin(angle) * far)
        draw.ellipse((at[0] - size, at[1] - size, at[0] + size, at[1] + size), fill=leaf)


def _sky(rng, size) -> UInt8[np.ndarray, "h w 3"]:
    height, width = size
    down = np.linspace(0, 1, height)[:, None, None] / 0.45
    blue, haze = np.array([96, 140, 190.0]), np.array([232, 214, 190.0])
    sky = blue + (haze - blue) * np.clip(down, 0, 1)
    cloud = np.clip(2.2 * _noise(rng, size, coarsest=5) - 0.1, 0, 1)[..., None]
    sky = sky + (np.array([250, 244, 235.0]) - sky) * cloud * 0.8
    return np.broadcast_to(sky, (height, width, 3)).astype(np.uint8)


def _hills(draw, rng, size) -> None:
    height, width = size
    x = np.arange(0, width + 8, 8)
    for level, tint in ((0.24, "#8fa0ad"), (0.29, "#7b8f86"), (0.34, "#66784f")):
        waves = sum(
            rng.uniform(0.3, 1) / k * np.sin(2 * np.pi * k * x / width + rng.uniform(0, 6))
            for k in (1, 2, 3, 5, 9, 17, 31)
        )
        ridge = height * (level - 0.045 * waves)
        draw.polygon([(0, height), *zip(x, ridge, strict=True), (width, height)], fill=tint)
        for _ in range(260):  # trees and rocks on the slope
            k = int(rng.integers(len(x)))
            at, r = ridge[k] + height * 0.1 * rng.uniform(0, 1), rng.uniform(2, 8)
            colour = _shade(tint, rng.uniform(0.65, 1.2))
            draw.ellipse((x[k] - r, at - r, x[k] + r, at + 0.7 * r), fill=colour)


def _weathered(image: Float[np.ndarray, "h w 3"], rng) -> UInt8[np.ndarray, "h w 3"]:
    """Stains of all sizes, and grain: nothing painted is quite flat."""
    size = image.shape[:2]
    stains = 0.5 * _noise(rng, size, coarsest=4) + 0.5 * _noise(rng, size, coarsest=40)
    image = image * (1 + 0.22 * stains[..., None])
    image = image + rng.normal(0, 3, (*size, 1))
    return np.clip(image, 0, 255).astype(np.uint8)


def _noise(rng, size, coarsest: int) -> Float[np.ndarray, "h w"]:
    """Smooth noise of several octaves, about 0, mostly within [-1, 1]."""
    total, gain = np.zeros(size, np.float32), 1.0
    cells = coarsest
    while cells < max(size) / 3:
        small = Image.fromarray(rng.normal(0, 1, (cells, cells)).astype(np.float32))
        total += gain * np.asarray(small.resize(size[::-1], Image.Resampling.BICUBIC))
        cells, gain = 2 * cells, gain * 0.72
    return total / total.std() * 0.45


def _shade(colour: str, factor: float) -> str:
    """A colour made lighter or darker."""
    parts = [int(str(colour)[k : k + 2], 16) for k in (1, 3, 5)]
    return "#" + "".join(f"{int(np.clip(p * factor, 0, 255)):02x}" for p in parts)
