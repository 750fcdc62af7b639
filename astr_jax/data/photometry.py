"""What light, lens, sensor and compression do to a picture, and things that stand in the way.

All functions take and return uint8 grey images [H W]; strength in [0, 1] scales every effect.
Nothing moves the picture: kernels are symmetric about their centre, so ground truth stays exact.
"""

import dataclasses
import statistics

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from astr_jax.images import check_photo

Image = UInt8[np.ndarray, "H W"]

_QUANTILES = np.array([statistics.NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)])


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhotometricConfig:
    """How often and how strongly images are changed. Probabilities are per image."""

    occlusion_probability: float = 0.35
    max_occluders: int = 3
    max_occluder_share: float = 0.12  # of the image area, each
    shadow_probability: float = 0.35
    gradient_probability: float = 0.35
    max_light_change: float = 0.6  # shadows and gradients darken down to 1 - this
    tone_probability: float = 0.8
    max_gamma: float = 1.6  # gamma in [1 / this, this]
    max_contrast: float = 1.5  # contrast in [1 / this, this]
    max_brightness: float = 40.0  # grey levels, either way
    gaussian_blur_probability: float = 0.25
    max_gaussian_sigma: float = 1.5  # pixels
    motion_blur_probability: float = 0.12
    max_motion_length: float = 9.0  # pixels
    noise_probability: float = 0.4
    max_noise_sigma: float = 14.0  # grey levels
    jpeg_probability: float = 0.4
    min_jpeg_quality: int = 25

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_probability") and not 0 <= value <= 1:
                raise ValueError(f"{field.name} must be in [0, 1]; got {value}.")
            if field.name.startswith("max_") and value < 0:
                raise ValueError(f"{field.name} must not be negative; got {value}.")
        for name in ("max_gamma", "max_contrast"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is a factor, at least 1; got {getattr(self, name)}.")
        if self.max_occluders * self.max_occluder_share > 0.6:
            raise ValueError(
                "Occluders may cover at most 0.6 of an image; got max_occluders * "
                f"max_occluder_share = {self.max_occluders * self.max_occluder_share:.2f}."
            )
        if self.max_light_change >= 1:
            raise ValueError(f"max_light_change must be below 1; got {self.max_light_change}.")
        if not 1 <= self.min_jpeg_quality <= 95:
            raise ValueError(f"min_jpeg_quality must be in [1, 95]; got {self.min_jpeg_quality}.")


def surrounded(
    image: Image, visible: Bool[np.ndarray, "H W"], rng: np.random.Generator, occluders
) -> Image:
    """Mostly puts something else where the image shows no photograph; else that goes on there."""
    if rng.random() < 0.7 and not visible.all():
        return cv2.copyTo(image, visible.view(np.uint8), filling(image.shape, rng, occluders))
    return image


def taken(
    image: Image,
    visible: Bool[np.ndarray, "H W"],
    rng: np.random.Generator,
    strength: float,
    config: PhotometricConfig,
    occluders,
) -> tuple[Image, Bool[np.ndarray, "H W"]]:
    """The image after all that befalls a picture, and what of the photograph it still shows."""
    image, visible = occlude(image, visible, rng, strength, config, occluders)
    image = relight(image, rng, strength, config)
    image = retone(image, rng, strength, config)
    return degrade(image, rng, strength, config), visible


def occlude(
    image: Image,
    visible: Bool[np.ndarray, "H W"],
    rng: np.random.Generator,
    strength: float,
    config: PhotometricConfig,
    occluders,
) -> tuple[Image, Bool[np.ndarray, "H W"]]:
    """Puts polygons before the scene: pieces of other photographs, flat, or noise."""
    if rng.random() >= config.occlusion_probability:
        return image, visible
    count = rng.integers(1, config.max_occluders + 1)
    mask = np.zeros(image.shape, np.uint8)
    for _ in range(count):
        share = config.max_occluder_share * rng.uniform(0.15, 0.3 + 0.7 * strength)
        cv2.fillPoly(mask, [blob(image.shape, share, rng)], 255)
    image = cv2.copyTo(filling(image.shape, rng, occluders), mask, image.copy())
    return image, visible & (mask == 0)


def filling(size: tuple[int, int], rng: np.random.Generator, photos) -> Image:
    """Returns a picture with nothing of the scene: mostly a piece of a photograph."""
    kind = rng.random()
    if kind < 0.7 and len(photos):
        photo = check_photo(photos[rng.integers(len(photos))], "a photograph")
        return _piece(photo, size, rng)
    level = rng.uniform(0, 255)
    if kind < 0.85:
        return np.full(size, level, np.uint8)
    coarse = tuple(max(2, side // int(rng.integers(1, 16))) for side in size)
    noise = np.clip(rng.normal(level, rng.uniform(5, 60), coarse), 0, 255).astype(np.uint8)
    return cv2.resize(noise, size[::-1], interpolation=cv2.INTER_LINEAR)


def relight(
    image: Image, rng: np.random.Generator, strength: float, config: PhotometricConfig
) -> Image:
    """Lays soft or hard local shadows and a gradient of light over the image."""
    shadow = rng.random() < config.shadow_probability
    gradient = rng.random() < config.gradient_probability
    if not (shadow or gradient):
        return image
    height, width = (side // 4 for side in image.shape)
    gain = np.ones((height, width), np.float32)
    deepest = config.max_light_change * strength
    if shadow:
        mask = np.zeros((height, width), np.uint8)
        for _ in range(rng.integers(1, 4)):
            cv2.fillPoly(mask, [blob(mask.shape, rng.uniform(0.05, 0.4), rng)], 255)
        mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.5, 6.0))
        gain -= mask * np.float32(rng.uniform(0, deepest) / 255)
    if gradient:
        angle, low = rng.uniform(0, 2 * np.pi), 1 - rng.uniform(0, deepest)
        x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)[:, None]
        along = np.cos(angle) * x + np.sin(angle) * y  # in [-sqrt 2, sqrt 2]
        gain *= (1 + (low - 1) * (0.5 + along / np.sqrt(8))).astype(np.float32)
    levels = cv2.resize((gain * 255).astype(np.uint8), image.shape[::-1])
    return cv2.multiply(image, levels, scale=1 / 255)


def retone(
    image: Image, rng: np.random.Generator, strength: float, config: PhotometricConfig
) -> Image:
    """Changes gamma, contrast about the mean, and brightness; never turns dark into light."""
    if rng.random() >= config.tone_probability:
        return image
    gamma = config.max_gamma ** (strength * rng.uniform(-1, 1))
    contrast = config.max_contrast ** (strength * rng.uniform(-1, 1))
    brightness = config.max_brightness * strength * rng.uniform(-1, 1)
    levels = 255 * np.linspace(0, 1, 256) ** gamma
    centre = levels[int(cv2.mean(image)[0])]
    table = (levels - centre) * contrast + centre + brightness
    return cv2.LUT(image, np.clip(table, 0, 255).astype(np.uint8))


def degrade(
    image: Image, rng: np.random.Generator, strength: float, config: PhotometricConfig
) -> Image:
    """Blurs (lens, motion), adds sensor noise, compresses."""
    if rng.random() < config.gaussian_blur_probability:
        sigma = strength * config.max_gaussian_sigma * rng.random()
        if sigma > 0.2:
            image = cv2.GaussianBlur(image, (0, 0), sigma)
    if rng.random() < config.motion_blur_probability:
        image = _motion_blur(image, rng, strength * config.max_motion_length * rng.random())
    if rng.random() < config.noise_probability:
        sigma = strength * config.max_noise_sigma * rng.random()
        drawn = rng.integers(0, 256, image.shape, dtype=np.uint8)
        noise = cv2.LUT(drawn, np.round(_QUANTILES * sigma).astype(np.int16))
        image = cv2.add(image, noise, dtype=cv2.CV_8U)
    if rng.random() < config.jpeg_probability:
        quality = 95 - strength * (95 - config.min_jpeg_quality) * rng.random()
        stream = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, int(quality)))[1]
        image = cv2.imdecode(stream, cv2.IMREAD_GRAYSCALE)
    return image


def _motion_blur(image: Image, rng: np.random.Generator, length: float) -> Image:
    """Averages along a straight line of the given length (pixels), centred."""
    half = int(np.ceil(length / 2))
    if half < 1:
        return image
    side = 2 * half + 1
    angle = rng.uniform(0, np.pi)
    steps = np.linspace(-length / 2, length / 2, 4 * side)
    x, y = (np.rint(d * steps).astype(int) + half for d in (np.cos(angle), np.sin(angle)))
    kernel = np.zeros((side, side), np.float32)
    np.add.at(kernel, (y, x), 1.0)  # symmetric, as steps are, so that nothing moves
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def blob(size: tuple[int, int], share: float, rng: np.random.Generator):
    """Draws a star-shaped polygon of about this share of the area; int32 points [n 2], (x, y)."""
    height, width = size
    count = int(rng.integers(3, 10))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    radii = np.sqrt(share * height * width / np.pi) * rng.uniform(0.6, 1.3, count)
    centre = rng.uniform((0, 0), (width, height))
    stretch = rng.uniform(0.6, 1.0)
    around = np.stack([np.cos(angles) * radii / stretch, np.sin(angles) * radii * stretch], -1)
    return np.rint(centre + around).astype(np.int32)


def _piece(
    photo: Image, size: tuple[int, int], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w"]:
    """Cuts a random rectangle out of a photograph and brings it to size."""
    share = rng.uniform(0.4, 1.0)
    height, width = (max(2, int(side * share)) for side in photo.shape)
    y, x = (rng.integers(0, a - b + 1) for a, b in zip(photo.shape, (height, width), strict=True))
    piece = photo[y : y + height, x : x + width]
    return cv2.resize(piece, size[::-1], interpolation=cv2.INTER_LINEAR)
