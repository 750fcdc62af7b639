"""Pictures that tests match."""

import numpy as np
from PIL import Image


def picture(height, width, seed=0):
    """A grey texture of several scales, uint8 [h w]."""
    rng = np.random.default_rng(seed)
    layers = [Image.fromarray(rng.random((k, k)).astype(np.float32)) for k in (4, 8, 16, 32)]
    total = sum(np.asarray(layer.resize((width, height))) for layer in layers)
    return np.uint8(np.round(255 * (total - total.min()) / np.ptp(total)))


def darker(image):
    """The same in a slightly different light."""
    return np.uint8(0.9 * image + 10)
