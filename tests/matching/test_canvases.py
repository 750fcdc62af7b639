"""Few sizes for any images: every image fits its canvas, any number of matches its capacity."""

import pytest

from astr_jax.matching.canvases import canvas_of, canvases, capacity_for


@pytest.mark.parametrize("resize", [64, 100, 320, 640, 1000])
def test_every_working_image_fits_its_canvas(resize):
    for height, width in ((resize, resize), (1, resize), (resize, 1), (resize * 3 // 4, resize)):
        canvas = canvas_of((height, width), resize)
        assert canvas in canvases(resize)
        assert canvas[0] >= height
        assert canvas[1] >= width
        assert canvas[0] % 32 == canvas[1] % 32 == 0


@pytest.mark.parametrize("cells", [1, 256, 300, 4800, 6400])
def test_the_fine_stage_has_one_of_two_capacities(cells):
    sizes = {capacity_for(count, cells) for count in range(cells + 1)}
    assert len(sizes) <= 2
    assert all(capacity_for(count, cells) >= count for count in range(cells + 1))
    assert all((size // 256).bit_count() == 1 and size % 256 == 0 for size in sizes)
