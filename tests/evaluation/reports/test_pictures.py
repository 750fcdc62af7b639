"""The best and the worst pairs of a report: matched again by its matcher, and drawn."""

import dataclasses

import cv2
import numpy as np
import pytest
from miniatures import GRID, grid_matcher

from astr_jax.evaluation.benchmarks.benchmark import Benchmark
from astr_jax.evaluation.matchers.named import NamedMatcher
from astr_jax.evaluation.reports import pictures as module
from astr_jax.evaluation.reports.pictures import draw_pairs, matcher_of
from astr_jax.evaluation.scores.poses import POSE
from astr_jax.geometry import warp_points
from astr_jax.viz import panels


def test_a_pair_that_fails_again_is_told_in_words(reports, benchmark):
    def failing(img0, img1, K0=None, K1=None):
        if img0[0, 0] == 1:
            raise RuntimeError("<out of film>")
        return grid_matcher(img0, img1)[:3]

    pictures = draw_pairs(reports[1], benchmark, failing, count=1)
    broken = [picture for picture in pictures if picture.figure is None]
    assert len(broken) == 2
    assert all("RuntimeError: <out of film>" in picture.words for picture in broken)


def test_a_picture_says_how_many_matches_it_has_and_the_report_had(reports, benchmark):
    def every_other(*images, **cameras):
        return [array[::2] for array in grid_matcher(*images)]

    same = draw_pairs(reports[0], benchmark, grid_matcher, count=1)
    assert all(f", {len(GRID)} matches;" in picture.words for picture in same)
    fewer = draw_pairs(reports[0], benchmark, every_other, count=1)
    words = f", {len(GRID) // 2} matches (in the report {len(GRID)});"
    assert all(words in picture.words for picture in fewer)


def test_without_a_baseline_colours_are_distances_from_where_the_rotation_leads(reports, benchmark):
    turn, step = np.eye(4), np.eye(4)
    turn[:3, :3] = cv2.Rodrigues(np.array([0.05, 0.1, 0.2]))[0]
    step[:3, 3] = 1
    record, pair = reports[0].records[3], benchmark.pairs[3]
    assert record.kind == POSE

    def half_right(img0, img1, K0, K1):
        there = warp_points(K1 @ turn[:3, :3] @ np.linalg.inv(K0), GRID)
        there[::2] += [0, 10]
        return GRID, there, np.linspace(1, 0.1, len(GRID))

    report = dataclasses.replace(reports[0], records=(record,))
    pictures = []
    for pose in (turn, step @ turn):
        truth = dataclasses.replace(pair.truth, cam1_from_cam0=pose)
        pairs = (dataclasses.replace(pair, truth=truth),)
        pictures += draw_pairs(report, dataclasses.replace(benchmark, pairs=pairs), half_right)
    still, moved = pictures
    assert "colours: distance from the truth, a rotation without a baseline" in still.words
    assert moved.words.endswith("colours: Sampson distance")
    green, red = panels.ERROR([0.0, 1.0])[:, :3]
    for dots in still.figure.axes[0].collections[1:]:  # after the lines, of each image
        colours = dots.get_facecolors()[:, :3]
        np.testing.assert_allclose(colours[::2], np.tile(red, (len(GRID[::2]), 1)), atol=1e-6)
        np.testing.assert_allclose(colours[1::2], np.tile(green, (len(GRID[1::2]), 1)), atol=1e-6)


def test_the_lines_that_are_drawn_go_over_the_ranking_by_confidence(
    reports, benchmark, monkeypatch
):
    """Fails where a matcher's own order stands for the ranking."""
    drawn = []

    def draw(image0, image1, matches, error):
        drawn.append((matches.confidence, error))

    def rising(img0, img1, K0=None, K1=None):
        return GRID, GRID, np.linspace(0.1, 1, len(GRID))

    monkeypatch.setattr(module, "draw_matches", draw)
    draw_pairs(reports[0], benchmark, rising, count=1)
    for confidence, error in drawn:
        assert (np.diff(confidence) <= 0).all()
        assert len(error) == len(confidence)
    assert drawn


@pytest.fixture
def asked(monkeypatch):
    """A finder of matchers that knows astr by two weights and orb, and what it was asked for."""
    calls = []

    def find(name, weights, resize, upright=True, polish=True):
        without = (["turned"] if not upright else []) + (["not polished"] if not polish else [])
        calls.append((name, weights, resize, *without))
        if name != "astr":
            assert not without, "--no-upright and --no-polish are of astr"
            return NamedMatcher(match=grid_matcher, settings={"matcher": name})
        if weights not in ("tiny", "moved/tiny_again.safetensors", "other.safetensors"):
            raise FileNotFoundError(f"{weights} is no file.")
        settings = {
            "weights": f"{weights}.safetensors" if weights == "tiny" else weights.split("/")[-1],
            "weights_sha256": "beef" if weights == "other.safetensors" else "ab12",
            "match_resize": resize,
        }
        return NamedMatcher(match=grid_matcher, settings=settings)

    monkeypatch.setattr(module, "find_matcher", find)
    return calls


ASTR = {"weights": "tiny.safetensors", "weights_sha256": "ab12", "match_resize": 480}


@pytest.mark.parametrize(
    ("stated", "options", "expected"),
    [
        (ASTR, {}, ("astr", "tiny", 480)),
        (ASTR, {"name": "astr"}, ("astr", "tiny", 480)),
        (ASTR | {"upright": False}, {}, ("astr", "tiny", 480, "turned")),
        (ASTR | {"polish": False}, {}, ("astr", "tiny", 480, "not polished")),
        (
            ASTR,
            {"weights": "moved/tiny_again.safetensors"},
            ("astr", "moved/tiny_again.safetensors", 480),
        ),
        ({"matcher": "orb"}, {}, ("orb", None, None)),
        ({}, {"name": "orb"}, ("orb", None, None)),  # records of Python, without settings
    ],
)
def test_pairs_are_matched_again_by_what_the_report_states(
    reports, asked, stated, options, expected
):
    report = dataclasses.replace(reports[0], protocol=stated)
    assert matcher_of(report, **options) is grid_matcher
    assert asked == [expected]


@pytest.mark.parametrize(
    ("stated", "options", "message"),
    [
        (
            ASTR,
            {"weights": "other.safetensors"},
            "weights tiny.safetensors, sha256 ab12; these are the weights other.safetensors, "
            "sha256 beef. Give that file by --weights",
        ),
        (
            ASTR | {"weights": "mine.safetensors"},
            {},
            "with the weights mine.safetensors, sha256 ab12: give that file by --weights",
        ),
        (ASTR, {"name": "orb"}, "with weights tiny.safetensors, here it is none"),
        (ASTR | {"upright": False}, {"name": "orb"}, "with weights tiny.safetensors, here it is"),
        (ASTR | {"matcher": "astr 2"}, {}, "with matcher astr 2, here it is none"),
        ({"matcher": "sift"}, {"name": "orb"}, "with matcher sift, here it is orb"),
        ({}, {}, "the report of grid states no matcher: give --matcher"),
    ],
)
def test_another_matcher_than_the_report_states_is_refused(
    reports, asked, stated, options, message
):
    report = dataclasses.replace(reports[0], protocol=stated)
    with pytest.raises(ValueError, match=message):
        matcher_of(report, **options)


def test_another_folder_is_refused(reports, benchmark):
    fewer = Benchmark(name="pairs", pairs=benchmark.pairs[:2], resize=benchmark.resize)
    with pytest.raises(ValueError, match="4 pairs of the report are not in the folders"):
        draw_pairs(reports[0], fewer, grid_matcher)
