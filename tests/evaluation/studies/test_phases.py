"""Phases: the pairs obey their truth, and the scores are those of what was matched."""

import cv2
import numpy as np
import pytest

from astr_jax.evaluation.matchers.named import NamedMatcher
from astr_jax.evaluation.studies.phase_figures import draw_phases, phase_tables
from astr_jax.evaluation.studies.phases import (
    SCALES,
    Case,
    cases,
    pair_of,
    score,
    score_all,
    with_noise,
    worst,
)
from astr_jax.geometry import warp_points

SIZE = 104, 136


def spot(at):
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.round(200 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 32)).astype(np.uint8)


def centre(image):
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    weight = image.astype(float) ** 2
    return np.array([[(weight * x).sum(), (weight * y).sum()]]) / weight.sum()


@pytest.mark.parametrize(
    "case", [Case((0, 0), 1.0), Case((5, 2), 1.0), Case((0, 0), 0.5), Case((0, 0), 2**0.5)], ids=str
)
def test_a_spot_lies_where_the_truth_says(case):
    image0, image1, truth = pair_of(spot((70, 40)), case)
    np.testing.assert_allclose(centre(image1), warp_points(truth, centre(image0)), atol=0.1)


def test_there_are_all_phases_and_all_scales():
    assert len({case.shift for case in cases() if case.scale == 1}) == 64
    assert {case.scale for case in cases()} == set(SCALES)


def test_either_picture_has_noise_of_its_own():
    seen = []

    def match(image0, image1, K0=None, K1=None):
        seen.append((image0, image1))
        return np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0)

    grey, matcher = np.full(SIZE, 128, np.uint8), NamedMatcher(match=match, settings={})
    for noise in (0.0, 2.0, 2.0):
        score(matcher, grey, Case((0, 0), 1.0), noise)
    (still, other), (noisy0, noisy1), again = seen
    assert (still == 128).all()
    assert (other == 128).all()
    assert noisy0.std() == pytest.approx(2, rel=0.05)
    assert (noisy0.astype(float) - noisy1).std() == pytest.approx(2 * 2**0.5, rel=0.05)
    np.testing.assert_array_equal(again, (noisy0, noisy1))
    assert with_noise(np.full((9, 9), 255, np.uint8), 50.0, np.random.default_rng(0)).max() == 255


def wrong_by(error, *, sigma=1.0, count=50):
    """A matcher whose points are off by so much, or by 40 px for each tenth one."""

    def match(image0, image1, K0=None, K1=None):
        points = np.random.default_rng(0).uniform(10, 60, (count, 2))
        off = np.tile(np.asarray(error, float), (count, 1))
        off[::10] = 40
        # The spot's case: image 1 is image 0 moved by (5, 2).
        return points, points - (5, 2) + off, np.ones(count), np.full(count, sigma)

    return NamedMatcher(match=match, settings={})


def test_a_score_says_how_many_are_near_and_how_far_they_are_off():
    found = score(wrong_by((2.0, -0.5)), spot((70, 40)), Case((5, 2), 1.0))
    assert found.matches == 50
    assert found.right == pytest.approx(0.9)
    assert found.near == 0
    np.testing.assert_allclose(found.bias, (2.0, -0.5), atol=1e-9)
    np.testing.assert_allclose(found.spread, 0, atol=1e-9)
    assert found.within_sigma == pytest.approx(0.5)  # y is within one sigma, x is not


def test_a_matcher_that_finds_nothing_scores_nothing():
    found = score(wrong_by((0, 0), count=0), spot((70, 40)), Case((5, 2), 1.0))
    assert found.matches == found.near == 0
    assert np.isnan(found.bias).all()


def test_the_worst_phase_is_named_against_the_first():
    matcher = wrong_by((0.0, 0.0))
    scores = dict(score_all(matcher, spot((70, 40))))
    found = worst(scores)
    assert found["matches"] == 1
    assert found["near"] == 0  # it is right at (5, 2) alone
    assert found["bias"] == pytest.approx(5)


def test_tables_and_figure_hold_every_matcher(tmp_path):
    of_matcher = dict(score_all(wrong_by((0.0, 0.0)), spot((70, 40))))
    scores = {"one": of_matcher, "two": of_matcher}
    worst_of, scales = phase_tables(scores).split("\n\n")
    assert [line.split(" | ")[0] for line in worst_of.splitlines()[2:]] == ["| one", "| two"]
    assert len(scales.splitlines()) == 2 + len(SCALES)
    draw_phases(scores).savefig(tmp_path / "phases.png", dpi=30)
    assert cv2.imread(str(tmp_path / "phases.png")).std() > 1
