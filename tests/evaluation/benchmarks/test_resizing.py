"""Images at the size that a matcher is given."""

import numpy as np
import pytest
from PIL import Image

from astr_jax.evaluation.benchmarks.resizing import Resize, load_image


def test_images_are_turned_as_their_exif_says(tmp_path):
    # Orientation 6: the camera was turned; the file's left column is the upright top row.
    pixels = np.zeros((32, 64), np.uint8)
    pixels[:, :16] = 200
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    image, resize = load_image(tmp_path / "turned.png", Resize(long_side=64))
    assert image.shape == (64, 32)
    assert image[:16].min() == 200
    assert image[16:].max() == 0
    np.testing.assert_allclose(resize, np.eye(3))


def test_sixteen_bits_show_what_eight_do(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (32, 48), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    eight, sixteen = (load_image(tmp_path / f"{n}.png", Resize(long_side=48))[0] for n in (8, 16))
    np.testing.assert_array_equal(eight, sixteen)


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        ({"long_side": -5}, "positive"),
        ({"short_side": 480, "multiple": 0}, "positive"),
        ({"size": (640, 480), "multiple": 8}, "knows no multiple"),
        ({"long_side": 640, "short_side": 480}, "give one of"),
    ],
)
def test_a_size_that_is_none_is_refused(sides, message):
    with pytest.raises(ValueError, match=message):
        Resize(**sides)
