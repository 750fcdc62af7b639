"""Points of scenes that a matcher is asked for: which serve, what is scored, how two differ."""

import numpy as np
import pytest

from astr_jax.data.scenes import Scene
from astr_jax.evaluation.matchers.named import NamedMatcher, matcher_of
from astr_jax.evaluation.studies import tracks
from astr_jax.evaluation.studies.track_tables import differences_table, tracks_table
from astr_jax.evaluation.studies.tracks import (
    TrackRecord,
    asked_points,
    difference,
    draw_pairs,
    measured,
    records_of,
)
from astr_jax.params import Params, fold_params

FOCAL, SIZE = 100.0, (96, 128)


@pytest.fixture(scope="module")
def scene():
    """Six cameras in a row, looking ahead; image k is of the grey 10 k. Some points are far away,
    some are seen twice only."""
    rng = np.random.default_rng(0)
    xyz = rng.uniform((-1, -0.8, 3), (1, 0.8, 5), (120, 3))
    xyz[100:] *= 100
    poses, rows, keypoints = [], [], []
    for k in range(6):
        pose = np.eye(4)
        pose[0, 3] = 0.6 - 0.24 * k
        at = xyz + pose[:3, 3]
        seen = np.flatnonzero((np.arange(120) >= 12) | (k in (0, 1)))
        seen = seen[(seen - k) % 7 > (k % 3)]  # not all overlap alike
        poses.append(pose), rows.append(seen)
        keypoints.append((FOCAL * at[:, :2] / at[:, 2:] + (63.5, 47.5))[seen])
    K = np.array([[FOCAL, 0, 63.5], [0, FOCAL, 47.5], [0, 0, 1]])
    return Scene(
        name="row",
        images=tuple(np.full(SIZE, 10 * k, np.uint8) for k in range(6)),
        K=np.stack([K] * 6),
        cam_from_world=np.array(poses),
        rows=tuple(rows),
        keypoints=tuple(keypoints),
        xyz=xyz,
    )


def knowing(scene, off, *, count=None, asked=True):
    """A matcher that knows the truth, and is off by so many pixels."""

    def both(image0, image1):
        i, j = (int(image[0, 0]) // 10 for image in (image0, image1))
        at_i, at_j = scene.common(i, j)
        return scene.keypoints[i][at_i], scene.keypoints[j][at_j] + off

    def match(image0, image1, K0=None, K1=None):
        points0, points1 = (points[:count] for points in both(image0, image1))
        return points0, points1, np.ones(len(points0))

    def locate(image0, image1, points0):
        known, there = both(image0, image1)
        return np.array([there[(known == point).all(axis=1)][0] for point in points0])

    return NamedMatcher(match=match, settings={}, locate=locate if asked else None)


def test_points_that_serve_are_seen_thrice_and_lie_near_enough(scene, monkeypatch):
    at_i, at_j = scene.common(0, 1)
    rows = scene.rows[0][at_i]
    points0, points1 = asked_points(scene, 0, 1)
    good = (rows >= 12) & (rows < 100)
    assert 0 < good.sum() < len(rows)
    np.testing.assert_array_equal(points0, scene.keypoints[0][at_i[good]])
    np.testing.assert_array_equal(points1, scene.keypoints[1][at_j[good]])
    monkeypatch.setattr(tracks, "MOST_POINTS", 20)
    some = asked_points(scene, 0, 1, seed=3)
    assert len(some[0]) == 20
    np.testing.assert_array_equal(some, asked_points(scene, 0, 1, seed=3))
    assert set(map(tuple, some[0])) < set(map(tuple, points0))


def test_pairs_are_drawn_of_every_overlap_and_the_first_stay_the_first(scene):
    index, overlap = scene.pairs
    drawn = draw_pairs(scene, 100, 1)
    assert sorted(tuple(sorted(pair)) for pair in drawn) == sorted(map(tuple, index.tolist()))
    assert draw_pairs(scene, 4, 1) == drawn[:4]
    assert draw_pairs(scene, 100, 2) != drawn
    bands = np.digitize(overlap, tracks.OVERLAPS)
    assert len(np.unique(bands)) > 1
    of = dict(zip(map(tuple, index.tolist()), bands, strict=True))
    assert len({of[tuple(sorted(pair))] for pair in drawn[:2]}) == 2
    some = draw_pairs(scene, 100, 1, among=index[::2])
    assert sorted(tuple(sorted(pair)) for pair in some) == sorted(map(tuple, index[::2].tolist()))


def test_errors_are_told_in_pixels_of_points_and_of_lines(scene):
    pairs = [(0, 1), (3, 1)]
    along, across = (
        list(records_of(knowing(scene, off), scene, pairs)) for off in ((2, 0), (0, 2))
    )
    for record in (*along, *across):
        assert record.points == len(asked_points(scene, record.image0, record.image1)[0])
        assert [record.scores[name] for name in tracks.OF_POINTS] == [0, 1, 1]
        assert record.scores[tracks.MEDIAN] == pytest.approx(2)
    # The cameras stand in a row: lines are level.
    assert [r.scores[name] for r in along for name in tracks.OF_LINES] == [1, 1, 1, 1]
    assert [r.scores[name] for r in across for name in tracks.OF_LINES] == [0, 1, 0, 1]


def test_a_matcher_that_finds_nothing_or_cannot_be_asked(scene):
    (record,) = records_of(knowing(scene, 0.0, count=0, asked=False), scene, [(0, 1)])
    assert record.scores == {"matches": 0} | dict.fromkeys(tracks.OF_LINES, 0)
    assert "| row | none | 1 | - | - | - | - | 0 [0, 0] | 0.0 [0.0, 0.0] |" in tracks_table(
        {"none": [record]}
    )


def test_differences_over_the_same_pairs_are_told_where_scores_are_not(rng):
    hard = rng.uniform(0, 1, 200)

    def records(shares):
        return [
            TrackRecord(scene="s", image0=k, image1=k + 1, points=50, scores={"within 3 px": x})
            for k, x in enumerate(shares)
        ]

    first, second = records(hard), records(hard + rng.normal(0.01, 0.02, 200))
    a, b = (measured(side, "within 3 px") for side in (first, second))
    assert a.low < b.value < a.high
    gain = difference(first, second, "within 3 px")
    assert gain.told
    assert gain.low < 0.01 < gain.high
    assert not difference(first, first, "within 3 px").told
    table = differences_table(first[:150], second[50:])
    assert "| all | 100 | " in table
    assert table.count(" *") == 2
    with pytest.raises(ValueError, match="no pair in common"):
        differences_table(first[:50], second[50:])


def test_the_model_answers_for_every_point_however_sure(nano_variables, nano_config, make_images):
    params = fold_params(Params(nano_variables, nano_config))
    matcher = matcher_of(params, resize=96, upright=True, polish=False)
    images = [np.asarray(255 * make_images(k, (1, 64, 96))[0, ..., 0], np.uint8) for k in (0, 1)]
    points0 = np.array([[10.0, 12.5], [80.2, 40], [50, 30]])
    found = matcher.locate(*map(matcher.encode, images), points0)
    assert found.shape == (3, 2)
    assert (found != 0).all()
