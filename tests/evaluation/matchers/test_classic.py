"""Classic matchers on an image whose motion is known, and the rule they share."""

import cv2
import numpy as np
import pytest

from astr_jax.evaluation.matchers.classic import MATCHERS, ratio_and_mutual


@pytest.fixture(scope="module")
def shifted():
    """A random smooth texture, and the same 16 pixels to the left and 8 up."""
    noise = np.random.default_rng(0).uniform(0, 255, (240, 320)).astype(np.float32)
    texture = sum(s * cv2.GaussianBlur(noise, (0, 0), s) for s in (2, 4, 8))
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return texture[:-8, :-16], texture[8:, 16:]


@pytest.mark.parametrize("name", MATCHERS)
def test_matches_follow_a_shift(shifted, name):
    points0, points1, confidence = MATCHERS[name](*shifted)
    assert len(points0) == len(points1) == len(confidence) > 20
    error = np.linalg.norm(points1 - (points0 - [16, 8]), axis=1)
    assert np.median(error) < 1.0
    assert (error < 4.0).mean() > 0.95  # a pixel of the upper levels of ORB's pyramid is 3.6 px
    assert confidence.min() >= 0.0
    assert confidence.max() <= 1.0


@pytest.mark.parametrize("name", MATCHERS)
def test_an_image_without_features_has_no_matches(shifted, name):
    black = np.zeros_like(shifted[0])
    for pair in ((black, shifted[1]), (shifted[0], black)):
        points0, points1, confidence = MATCHERS[name](*pair)
        assert points0.shape == points1.shape == (0, 2)
        assert confidence.shape == (0,)


def test_the_rule_wants_a_clear_and_mutual_nearest_neighbour():
    first = np.array([[0.0], [10.0], [21.0], [10.9]])
    second = np.array([[0.1], [10.5], [20.0], [22.0]])
    # 0: clear. 1: 10.5 is its nearest, but nearer to 10.9. 2: 20 and 22 are as far. 3: mutual.
    index0, index1, confidence = ratio_and_mutual(first, second, ratio=0.8)
    np.testing.assert_array_equal(index0, [0, 3])
    np.testing.assert_array_equal(index1, [0, 1])
    np.testing.assert_allclose(confidence, [1 - 0.1 / 10.5, 1 - 0.4 / 9.1], atol=1e-4)


def test_bits_are_compared_by_hamming_distance():
    # Distances 2 and 3 bits: a ratio of 2/3 of bits, of sqrt(2/3) = 0.82 if taken as Euclidean.
    zero = np.zeros((1, 8), bool)
    second = np.array([[1, 1, 0, 0, 0, 0, 0, 0], [0, 0, 1, 1, 1, 0, 0, 0]], bool)
    index0, index1, confidence = ratio_and_mutual(zero, second, ratio=0.8)
    assert (index0.tolist(), index1.tolist()) == ([0], [0])
    np.testing.assert_allclose(confidence, [1 / 3], atol=1e-6)
