import dataclasses

import cv2
import numpy as np
import pytest

from astr_jax.data import photometry
from astr_jax.data.photometry import PhotometricConfig

OFF = PhotometricConfig(
    **{
        field.name: 0.0
        for field in dataclasses.fields(PhotometricConfig)
        if field.name.endswith("_probability")
    }
)


def only(**changes):
    return dataclasses.replace(OFF, **changes)


def test_tone_never_turns_dark_into_light():
    ramp = np.tile(np.arange(256, dtype=np.uint8), (8, 1))
    changed = 0
    for seed in range(200):
        out = photometry.retone(ramp, np.random.default_rng(seed), 1.0, only(tone_probability=1))
        assert (np.diff(out[0].astype(int)) >= 0).all()
        changed += not np.array_equal(out, ramp)
    assert changed > 190


@pytest.mark.parametrize(
    "config",
    [only(gaussian_blur_probability=1), only(motion_blur_probability=1)],
    ids=["gaussian", "motion"],
)
def test_blur_does_not_move_the_picture(config):
    dot = np.zeros((41, 41), np.uint8)
    dot[18:23, 18:23] = 255
    blurred = 0
    for seed in range(50):
        out = photometry.degrade(dot, np.random.default_rng(seed), 1.0, config).astype(float)
        y, x = np.indices(out.shape)
        centroid = (x * out).sum() / out.sum(), (y * out).sum() / out.sum()
        np.testing.assert_allclose(centroid, (20, 20), atol=0.02)
        blurred += out[18:23, 18:23].mean() < 240
    assert blurred > 20


def test_noise_has_no_mean_and_the_spread_it_was_given():
    grey = np.full((200, 200), 128, np.uint8)
    config = only(noise_probability=1, max_noise_sigma=14.0)
    spreads = []
    for seed in range(40):
        out = photometry.degrade(grey, np.random.default_rng(seed), 1.0, config).astype(float)
        assert abs(out.mean() - 128) < 0.3
        spreads.append(out.std())
    assert max(spreads) <= 14.2
    assert max(spreads) > 11
    assert np.mean(spreads) == pytest.approx(7, abs=2)


def test_light_only_darkens_and_never_below_its_bound():
    grey = np.full((120, 160), 200, np.uint8)
    config = only(shadow_probability=1, max_light_change=0.5)
    changed = 0
    for seed in range(40):
        out = photometry.relight(grey, np.random.default_rng(seed), 1.0, config)
        assert out.max() <= 200
        assert out.min() >= 97
        changed += (out < 180).any()
    assert changed > 20


def test_an_occluded_pixel_is_not_visible_and_all_others_are_untouched():
    scene = np.full((96, 128), 50, np.uint8)
    everywhere = np.ones(scene.shape, bool)
    others = [np.full((60, 60), 200, np.uint8)]
    config = only(occlusion_probability=1)
    hidden = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        image, visible = photometry.occlude(scene, everywhere, rng, 1.0, config, others)
        assert (image[visible] == 50).all()
        hidden.append(1 - visible.mean())
    assert (scene == 50).all()  # the picture given is not written to
    assert everywhere.all()
    assert 0.03 < np.mean(hidden) < 0.3


def test_nothing_happens_with_all_probabilities_zero():
    image = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    rng = np.random.default_rng(1)
    for effect in (photometry.relight, photometry.retone, photometry.degrade):
        assert effect(image, rng, 1.0, OFF) is image


def test_compression_keeps_the_picture_in_place():
    noise = np.random.default_rng(0).standard_normal((128, 128)).astype(np.float32)
    image = np.clip(128 + 300 * cv2.GaussianBlur(noise, (0, 0), 3), 0, 255).astype(np.uint8)
    config = only(jpeg_probability=1)
    out = photometry.degrade(image, np.random.default_rng(0), 1.0, config)
    gradient = np.stack([g.ravel() for g in np.gradient(image.astype(float))], -1)
    change = image.astype(float).ravel() - out.ravel()
    shift = np.linalg.lstsq(gradient, change)[0]  # (y, x), pixels, to first order
    assert not np.array_equal(out, image)
    np.testing.assert_allclose(shift, (0, 0), atol=0.01)


@pytest.mark.parametrize(
    "change",
    [
        {"noise_probability": 1.2},
        {"max_noise_sigma": -1},
        {"max_gamma": 0.5},
        {"max_occluders": 10},
        {"max_light_change": 1.0},
        {"min_jpeg_quality": 0},
    ],
)
def test_a_photometric_config_refuses_nonsense(change):
    with pytest.raises(ValueError, match="got"):
        PhotometricConfig(**change)
