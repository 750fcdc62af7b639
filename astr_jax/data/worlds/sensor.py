"""What lens, sensor and compression do to a rendered image, in JAX.

The twin of photometry.py, which does the same to arrays on the host. Nothing moves the picture:
kernels are symmetric about their centre, so ground truth stays exact.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from astr_jax.data.photometry import PhotometricConfig
from astr_jax.data.worlds.draw import Draw
from pallas_kernels.arrays import Array

REACH = 4  # pixels, of the blur's kernel
# The quantisation table of the JPEG standard for luminance, at quality 50.
TABLE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)
_ROWS = np.cos(np.pi * np.arange(8)[:, None] * (2 * np.arange(8) + 1) / 16)
DCT = (_ROWS * np.sqrt(np.where(np.arange(8) == 0, 1, 2) / 8)[:, None]).astype(np.float32)


def take_picture(
    key: Array, image: Float[Array, "h w"], strength: Float[Array, ""], config: PhotometricConfig
) -> UInt8[Array, "h w"]:
    """Exposes an image in [0, 1]: tone, a gradient of light, blur, noise, compression."""
    draw = Draw(key)
    image = image * (0.45 / jnp.maximum(image.mean(), 0.02))  # as a camera's meter does
    image = retone(draw, jnp.clip(image, 0, 1), strength, config)
    image = blur(draw, image, strength, config)
    sigma = config.max_noise_sigma / 255 * strength * draw.uniform(0, 1)
    sigma = jnp.where(draw.chance(config.noise_probability), sigma, 0.003)
    image = jnp.clip(image + sigma * jax.random.normal(draw.key(), image.shape), 0, 1)
    quality = 95 - strength * (95 - config.min_jpeg_quality) * draw.uniform(0, 1)
    compressed = compress(255 * image, quality)
    image = jnp.where(draw.chance(config.jpeg_probability), compressed, 255 * image)
    return jnp.clip(jnp.round(image), 0, 255).astype(jnp.uint8)


def retone(draw: Draw, image, strength, config: PhotometricConfig):
    """Lays a gradient of light over the image; changes gamma, contrast and brightness."""
    height, width = image.shape
    angle, low = draw.uniform(0, 2 * jnp.pi), draw.uniform(0, config.max_light_change * strength)
    low = jnp.where(draw.chance(config.gradient_probability), low, 0.0)
    x, y = jnp.linspace(-1, 1, width)[None, :], jnp.linspace(-1, 1, height)[:, None]
    along = jnp.cos(angle) * x + jnp.sin(angle) * y  # in [-sqrt 2, sqrt 2]
    image = image * (1 - low * (0.5 + along / np.sqrt(8)))

    amount = jnp.where(draw.chance(config.tone_probability), strength, 0.0)
    gamma = config.max_gamma ** (amount * draw.uniform(-1, 1))
    contrast = config.max_contrast ** (amount * draw.uniform(-1, 1))
    brightness = config.max_brightness / 255 * amount * draw.uniform(-1, 1)
    image = jnp.maximum(image, 1e-4) ** gamma
    return jnp.clip((image - image.mean()) * contrast + image.mean() + brightness, 0, 1)


def blur(draw: Draw, image, strength, config: PhotometricConfig):
    """Blurs as a lens does, and as motion does along one axis of the image."""
    lens = strength * config.max_gaussian_sigma * draw.uniform(0, 1)
    lens = jnp.where(draw.chance(config.gaussian_blur_probability), lens, 0.0)
    length = strength * config.max_motion_length * draw.uniform(0, 1)
    length = jnp.where(draw.chance(config.motion_blur_probability), length, 0.0)
    across = draw.chance(0.5)
    offsets = jnp.arange(-REACH, REACH + 1, dtype=jnp.float32)
    for axis, moved in ((0, across), (1, ~across)):
        variance = lens**2 + jnp.where(moved, length**2 / 12, 0.0)
        weights = jnp.exp(-0.5 * offsets**2 / jnp.maximum(variance, 1e-3))
        weights = weights / weights.sum()
        padding = [(REACH, REACH) if a == axis else (0, 0) for a in range(2)]
        padded = jnp.pad(image, padding, mode="edge")
        side = image.shape[axis]
        image = sum(
            weight * jax.lax.slice_in_dim(padded, start, start + side, axis=axis)
            for start, weight in enumerate(weights)
        )
    return image


def compress(image: Float[Array, "h w"], quality: Float[Array, ""]) -> Float[Array, "h w"]:
    """Rounds the 8 x 8 cosine coefficients as JPEG does at a quality in [1, 95]; grey 0 to 255."""
    height, width = image.shape
    scale = jnp.where(quality < 50, 5000 / quality, 200 - 2 * quality) / 100
    steps = jnp.clip(jnp.round(TABLE * scale), 1, 255)[:, None, :]  # [8 1 8]
    blocks = image.reshape(height // 8, 8, width // 8, 8) - 128
    coefficients = jnp.einsum("ui,yixj,vj->yuxv", DCT, blocks, DCT)
    rounded = jnp.round(coefficients / steps) * steps
    return jnp.einsum("ui,yuxv,vj->yixj", DCT, rounded, DCT).reshape(height, width) + 128
