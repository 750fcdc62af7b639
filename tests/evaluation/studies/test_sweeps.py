"""Sweeps: the changed pictures obey their truth, and the scores are those of what was matched."""

import functools
import math

import cv2
import numpy as np
import pytest

from astr_jax.evaluation.studies.sweeps import (
    SWEEPS,
    Change,
    ViewScore,
    changes_of,
    choose_photos,
    make_view,
    match_changes,
    parse_sweeps,
    score_view,
    sweep_rows,
)
from astr_jax.geometry import warp_points

SIZE = 96, 128
view = functools.partial(make_view, around=np.full(SIZE, 200, np.uint8))


def photo(rng, size=SIZE):
    """Random blocks with soft edges."""
    coarse = rng.integers(0, 255, [side // 8 for side in size], dtype=np.uint8)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize(
    "change",
    [{}, {"rotation": 40}, {"rotation": 180}, {"scale": 2.5}, {"blur": 3}, {"light": 1}],
    ids=str,
)
def test_a_spot_lies_where_the_homography_says(change, rng):
    at = np.array([[75.0, 40.0]])
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    spot = 180 * np.exp(-((x - at[0, 0]) ** 2 + (y - at[0, 1]) ** 2) / (2 * 4.0**2))
    spot = np.round(spot).astype(np.uint8)
    image1, H = view(spot, around=np.zeros(SIZE, np.uint8), change=Change(**change), rng=rng)
    weight = image1.astype(float) ** 2
    found = (weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()
    np.testing.assert_allclose(found, warp_points(H, at)[0], atol=0.15)


def test_the_view_of_a_photograph_is_the_same_at_every_amount(rng):
    image = photo(rng)
    views = [
        view(image, change=Change(**change), rng=np.random.default_rng(3))[1]
        for change in ({}, {"blur": 2}, {"noise": 0.1}, {"light": -2})
    ]
    for other in views[1:]:
        np.testing.assert_array_equal(views[0], other)
    assert np.abs(views[0] / views[0][2, 2] - np.eye(3)).max() > 0.1  # not the same picture twice


def test_a_smaller_image_holds_the_mean_of_fine_stripes_and_what_is_around(rng):
    stripes = np.tile(np.array([0, 255], np.uint8), (SIZE[0], SIZE[1] // 2))
    image1, H = view(stripes, change=Change(scale=4), rng=rng)
    middle = image1[42:54, 54:74].astype(float)
    assert middle.std() < 12  # sampled without averaging: 127
    assert abs(middle.mean() - 127.5) < 12
    assert (image1[:20] == 200).all()
    corners = warp_points(H, np.array([[0.0, 0], [127, 95]]))
    assert np.ptp(corners, axis=0) == pytest.approx([127 / 4, 95 / 4], rel=0.12)


def test_a_stop_doubles_the_light_and_what_is_too_bright_is_white(rng):
    grey = np.full(SIZE, 100, np.uint8)
    levels = {
        stops: view(grey, change=Change(light=stops), rng=rng)[0][48, 64] / 255
        for stops in (-1, 0, 1, 4)
    }
    assert (levels[1] / levels[0]) ** 2.2 == pytest.approx(2, rel=0.02)
    assert (levels[0] / levels[-1]) ** 2.2 == pytest.approx(2, rel=0.03)
    assert levels[4] == 1


def test_noise_has_its_sigma_and_blur_takes_detail(rng):
    grey = np.full(SIZE, 128, np.uint8)
    noisy = view(grey, around=grey, change=Change(noise=0.1), rng=rng)[0]
    assert noisy.std() == pytest.approx(25.5, rel=0.05)
    image = photo(rng)
    sharp, blurred = (
        view(image, around=image, change=Change(blur=b), rng=np.random.default_rng(1))[0]
        for b in (0, 6)
    )
    assert blurred.std() < 0.5 * sharp.std()


def oracle_with(H, extra):
    """Matches that are exact, and as many wrong ones, 9 px off."""

    def match(img0, img1, K0=None, K1=None):
        points0 = np.stack(np.meshgrid(np.arange(20.0, 110, 10), np.arange(20.0, 80, 10)), -1)
        points0 = points0.reshape(-1, 2)
        exact = warp_points(H, points0)
        wrong = exact[:extra] + np.array([9.0, 0])
        points0 = np.concatenate([points0, points0[:extra]])
        return points0, np.concatenate([exact, wrong]), np.ones(len(points0))

    return match


def test_scores_count_what_lies_within_three_pixels(rng):
    image = photo(rng)
    image1, H = view(image, change=Change(rotation=20), rng=rng)
    score = score_view(oracle_with(H, extra=18), image, image1, H)
    assert (score.right, score.precision) == (54, 0.75)
    assert score.corner_error < 0.01
    assert 0.6 < score.seen < 0.95
    assert score.failure is None


def test_a_matcher_without_matches_or_with_an_error_scores_nothing(rng):
    image = photo(rng)
    image1, H = view(image, change=Change(), rng=rng)
    none = score_view(lambda *_: (np.zeros((0, 2)), np.zeros((0, 2)), []), image, image1, H)
    assert (none.right, none.precision, none.corner_error) == (0, 0, math.inf)
    assert none.failure is None
    failed = score_view(lambda *_: 1 / 0, image, image1, H)
    assert failed.failure == "ZeroDivisionError: division by zero"
    assert (failed.right, failed.corner_error) == (0, math.inf)


def test_all_matchers_are_given_the_same_pictures(rng):
    photos, seen = [photo(rng) for _ in range(3)], []

    def match(img0, img1):
        seen.append(img1.copy())
        return np.zeros((0, 2)), np.zeros((0, 2)), []

    changes = changes_of({"noise": (0.0, 0.1), "rotation": (0.0, 30.0)})
    assert len(changes) == 3  # the unchanged picture once
    for _ in range(2):
        assert len(list(match_changes(match, photos, changes, seed=4))) == 9
    for first, second in zip(seen[:9], seen[9:], strict=True):
        np.testing.assert_array_equal(first, second)
    assert len({image.tobytes() for image in seen[:9]}) == 9


def test_a_row_has_the_mean_or_the_median_with_its_interval():
    change = Change(blur=2)
    scores = [
        ViewScore(precision=p, right=r, corner_error=e, seen=1.0)
        for p, r, e in ((0.2, 10, 1.0), (0.4, 20, 4.9), (0.9, 90, 5.1), (0.9, 100, math.inf))
    ]
    (row,) = sweep_rows("sift", {change: scores}, {"blur": (2.0,)})
    assert row["precision"][0] == pytest.approx(0.6)
    assert row["right"][0] == 55
    assert row["solved"][0] == 0.5
    for name, (low, high) in {"precision": (0.2, 0.9), "right": (10, 100)}.items():
        value, least, most = row[name]
        assert low <= least < value < most <= high
    assert [s["corner_error"] for s in row["photographs"]] == [1.0, 4.9, 5.1, None]
    (same,) = sweep_rows("sift", {change: scores[:1] * 5}, {"blur": (2.0,)})
    assert same["right"] == (10, 10, 10)


def test_sweeps_are_read_from_the_command_line():
    assert parse_sweeps(["light=3,-3", "scale"]) == {"light": (-3, 3), "scale": SWEEPS["scale"][1]}
    assert list(parse_sweeps(None)) == list(SWEEPS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fog", r"no sweep 'fog'\. There are: view, rotation"),
        ("blur=1,x", "no numbers: write blur=1,2"),
        ("blur=", "no numbers"),
        ("blur=1 blur=2", "the sweep blur was given twice"),
        ("scale=0.5", r"scale must be in \[1, 8\]; got 0\.5"),
        ("noise=nan", r"noise must be in \[0, 1\]"),
    ],
)
def test_a_sweep_that_is_none_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_sweeps(text.split())


@pytest.fixture
def folder(tmp_path, rng):
    for name in "abc":
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), photo(rng, (192, 256)))
    return tmp_path


def test_photographs_are_drawn_by_the_seed(folder):
    drawn = {tuple(choose_photos([folder], 2, seed)) for seed in range(20)}
    assert len(drawn) == 3
    assert len(choose_photos([folder, folder / "a.png"], 20, 0)) == 3
    with pytest.raises(ValueError, match="two photographs or more"):
        choose_photos([folder / "a.png"], 20, 0)
