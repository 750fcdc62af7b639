"""Pictures are upright by their EXIF tag, and their points find the way back to the file."""

import numpy as np
import pytest
from PIL import Image

from astr_jax.evaluation.benchmarks.resizing import Resize, load_image
from astr_jax.images import orientation, read_image, stored_shape, to_stored

STORED = np.arange(60, dtype=np.uint8).reshape(6, 10)
UPRIGHT = {  # by the definition of the tag: where row 0 and column 0 of the stored pixels are seen
    1: STORED,  # top, left
    2: STORED[:, ::-1],  # top, right
    3: STORED[::-1, ::-1],  # bottom, right
    4: STORED[::-1],  # bottom, left
    5: STORED.T,  # left, top
    6: STORED[::-1].T,  # right, top
    7: STORED[::-1, ::-1].T,  # right, bottom
    8: STORED.T[::-1],  # left, bottom
}


@pytest.mark.parametrize("number", UPRIGHT)
@pytest.mark.parametrize(
    ("kind", "options"), [("png", {}), ("tif", {}), ("tif", {"compression": "tiff_lzw"})]
)
def test_every_orientation_is_read_upright_and_taken_back(tmp_path, number, kind, options):
    exif = Image.Exif()
    exif[0x0112] = number
    path = tmp_path / f"picture.{kind}"
    Image.fromarray(STORED).save(path, exif=exif, **options)
    upright = np.asarray(read_image(path))
    np.testing.assert_array_equal(upright, UPRIGHT[number])
    np.testing.assert_array_equal(
        load_image(path, Resize(long_side=10))[0], UPRIGHT[number], strict=True
    )
    assert (orientation(path), stored_shape(path)) == (number, STORED.shape)
    y, x = np.indices(upright.shape)
    points = to_stored(np.stack([x, y], axis=-1), number, STORED.shape)
    columns, rows = np.moveaxis(points.astype(int), -1, 0)
    np.testing.assert_array_equal(STORED[rows, columns], upright)


@pytest.mark.parametrize("tag", [0, 9, None])
def test_a_picture_without_an_orientation_that_there_is_is_upright(tmp_path, tag):
    exif = Image.Exif()
    if tag is not None:
        exif[0x0112] = tag
    Image.fromarray(STORED).save(tmp_path / "picture.png", exif=exif)
    assert orientation(tmp_path / "picture.png") == 1
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "picture.png")), STORED)
