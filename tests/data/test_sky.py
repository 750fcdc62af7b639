import cv2
import numpy as np
import pytest

from astr_jax.data import sky


def landscape(seed=0, size=(240, 320)):
    """A bright gradient above a wavy skyline, dark noise below; and what of it is sky."""
    rng = np.random.default_rng(seed)
    height, width = size
    line = height * (0.4 + 0.1 * np.sin(np.arange(width) / 30))
    above = np.arange(height)[:, None] < line
    ground = cv2.GaussianBlur(rng.normal(80, 120, size).astype(np.float32), (0, 0), 1.5)
    light = np.linspace(210, 170, height)[:, None]
    photo = np.clip(np.where(above, light, ground), 0, 255).astype(np.uint8)
    return photo, above


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("size", [(240, 320), (480, 640), (600, 400)])
def test_a_smooth_bright_sky_is_found(size):
    photo, above = landscape(size=size)
    assert overlap(sky.find_sky(photo), above) > 0.9


def test_what_is_no_sky_is_not_found():
    photo, _ = landscape()
    rough = np.random.default_rng(1).integers(0, 256, (240, 320), dtype=np.uint8)
    for other in (rough, photo[::-1].copy(), 255 - photo, np.full((240, 320), 180, np.uint8)):
        assert not sky.find_sky(other).any()


@pytest.mark.parametrize("size", [(16, 16), (16, 400), (400, 30)])
def test_photographs_of_any_shape_can_be_asked_for_their_sky(size):
    photo = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    found = sky.find_sky(photo)
    assert (found.shape, found.dtype) == (size, bool)
    drawn = sky.draw_skyline(size, np.random.default_rng(0))
    for view in sky.with_clouds(photo, drawn, np.random.default_rng(0)):
        assert (view.shape, view.dtype) == (size, np.uint8)


def test_a_skyline_leaves_sky_above_and_ground_below():
    for seed in range(20):
        above = sky.draw_skyline((120, 160), np.random.default_rng(seed))
        assert above[0].all()
        assert 0.02 < above.mean() < 0.85
        assert (np.diff(above.astype(int), axis=0) <= 0).mean() > 0.99  # once below, always below


def test_clouds_drift_and_the_ground_stands_still():
    photo, above = landscape()
    ground = cv2.erode((~above).astype(np.uint8), np.ones((15, 15))) > 0
    rng = np.random.default_rng(0)
    moved = []
    for _ in range(20):
        first, second = sky.with_clouds(photo, above, rng)
        for view in (first, second):
            np.testing.assert_array_equal(view[ground], photo[ground])
        moved.append(np.abs(first[above].astype(float) - second[above]).mean())
    assert np.median(moved) > 5


def test_clouds_are_of_every_amount_and_smoother_than_noise():
    rng = np.random.default_rng(0)
    covers = [sky.draw_clouds((120, 160), rng) for _ in range(30)]
    assert all(c.min() >= 0 and c.max() <= 1 for c in covers)
    amounts = [c.mean() for c in covers]
    assert min(amounts) < 0.3 < 0.6 < max(amounts)
    steps = [np.abs(np.diff(c, axis=1)).mean() / c.std() for c in covers]
    assert np.median(steps) < 0.2  # of white noise: 1.13
