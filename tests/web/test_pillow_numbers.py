"""The numbers that the page's own code is held to are Pillow's, and this package's."""

import json
import pathlib

import numpy as np
from PIL import Image

from astr_jax.export.pairs import fitted

FILE = pathlib.Path(__file__).parents[2] / "web" / "tests" / "unit" / "pillow.json"
FROM, TO = (11, 17), (6, 9)  # height, width
SIZES = [  # given, limit
    *(((480, 640), (352, 480)), ((640, 480), (352, 480)), ((333, 1000), (352, 480))),
    *(((352, 480), (352, 480)), ((1001, 77), (352, 480)), ((705, 961), (480, 640))),
]


def numbers():
    """Colours as grey, a picture shrunk, and the sizes that pictures are shrunk to."""
    rng = np.random.default_rng(3)
    colours = rng.integers(0, 256, (40, 3), dtype=np.uint8)
    pixels = rng.random(FROM).astype(np.float32).round(4)
    shrunk = Image.fromarray(pixels).resize(TO[::-1], Image.Resampling.BILINEAR)
    sizes = [
        {
            "given": named(given),
            "limit": named(limit),
            "fitted": named(fitted(np.zeros(given, np.uint8), None, limit, "image").shape),
        }
        for given, limit in SIZES
    ]
    return {
        "colours": colours.tolist(),
        "grey": np.asarray(Image.fromarray(colours[None]).convert("L"))[0].tolist(),
        "from": named(FROM),
        "to": named(TO),
        "pixels": pixels.ravel().astype(float).round(4).tolist(),
        "shrunk": np.asarray(shrunk).ravel().astype(float).round(7).tolist(),
        "sizes": sizes,
    }


def named(size):
    """Height and width by name."""
    return dict(zip(("height", "width"), size, strict=True))


def test_the_numbers_are_those_of_today():
    held, now = json.loads(FILE.read_text()), numbers()
    assert held.keys() == now.keys()
    np.testing.assert_allclose(held.pop("shrunk"), now.pop("shrunk"), atol=1e-6)
    assert held == now


if __name__ == "__main__":  # python tests/web/test_pillow_numbers.py writes them anew
    FILE.write_text(json.dumps(numbers()) + "\n")
