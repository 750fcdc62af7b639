import math

import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.layers.position import normalised_positional_encoding


def reference(i, x, y, channels, train_width, train_height, width, height):
    """Equations 3 and 4 of the supplement, one value at a time."""
    k, case = divmod(i, 4)
    w = 1 / 10000 ** (2 * k / channels)
    x, y = x * train_width / width, y * train_height / height
    return (math.sin(w * x), math.cos(w * x), math.sin(w * y), math.cos(w * y))[case]


def test_the_encoding_is_the_papers_formula_value_by_value():
    sides = {"train_width": 640.0, "train_height": 480.0}
    width, height = jnp.array([320.0, 800.0]), jnp.array([240.0, 500.0])
    encoding = normalised_positional_encoding((3, 5), 12, **sides, width=width, height=height)
    assert encoding.shape == (2, 3, 5, 12)
    for b, y, x, i in np.ndindex(*encoding.shape):
        expected = reference(i, x, y, 12, **sides, width=float(width[b]), height=float(height[b]))
        np.testing.assert_allclose(encoding[b, y, x, i], expected, atol=1e-5)


def test_an_image_of_the_training_size_gets_the_plain_encoding():
    side = jnp.array([96.0])
    same = {"train_width": 96.0, "train_height": 96.0, "width": side, "height": side}
    encoding = normalised_positional_encoding((2, 3), 8, **same)
    np.testing.assert_allclose(encoding[0, 0, 0], [0, 1, 0, 1] * 2)  # counted from 0
    np.testing.assert_allclose(encoding[0, 0, 2, :2], [math.sin(2), math.cos(2)], atol=1e-6)
    np.testing.assert_allclose(encoding[0, 1, 0, 2:4], [math.sin(1), math.cos(1)], atol=1e-6)


def test_twice_the_resolution_gives_the_same_code_at_the_same_place():
    codes = [
        normalised_positional_encoding(
            grid, 8, train_width=96.0, train_height=96.0, width=side, height=side
        )
        for grid, side in (((4, 4), jnp.array([96.0])), ((8, 8), jnp.array([192.0])))
    ]
    np.testing.assert_allclose(codes[1][:, ::2, ::2], codes[0], atol=1e-5)


def test_channels_must_hold_whole_groups_of_four():
    side = jnp.array([96.0])
    with pytest.raises(ValueError, match="got 10 channels"):
        normalised_positional_encoding(
            (2, 2), 10, train_width=96.0, train_height=96.0, width=side, height=side
        )
