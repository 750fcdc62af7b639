"""Polishing takes matches in pixels of the images as given, however these came to be matched."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.geometry import warp_points
from astr_jax.images import prepare
from astr_jax.matching.polishing import polished
from astr_jax.matching.selection import ENOUGH, PLENTY, exact, exact_with_less_sure, only
from astr_jax.types import Matches

RESIZE = 128
SIZE = (192, 256)  # of image 0; its working size is half of it


@pytest.fixture(scope="module")
def texture():
    noise = np.random.default_rng(3).random(SIZE).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    return np.uint8(255 * (smooth - smooth.min()) / (smooth.max() - smooth.min()))


@pytest.fixture(scope="module")
def points0():
    """The centres of cells away from the border."""
    y, x = np.mgrid[40:152:16, 40:216:16]
    return np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5


def matches_of(points0, points1, *, rows=200, scale=1.0):
    """As they come from the fine stage, with rows that are none."""
    k = len(points0)

    def padded(x, empty=0):
        x = np.asarray(x)
        width = [(0, rows - k)] + [(0, 0)] * (x.ndim - 1)
        return np.pad(x, width, constant_values=empty)

    return Matches(
        keypoints0=padded(np.float32(points0)),
        keypoints1=padded(np.float32(points1)),
        confidence=padded(np.linspace(1, 0.5, k, dtype=np.float32)),
        covariance=padded(np.tile(4 * np.eye(2, dtype=np.float32), (k, 1, 1))),
        scale=padded(np.full(k, scale, np.float32)),
        cell0=padded(np.arange(k, dtype=np.int32), -1),
        cell1=padded(np.arange(k, dtype=np.int32), -1),
        valid=padded(np.ones(k, bool)),
    )


def images_of(texture, homography, size):
    image1 = cv2.warpPerspective(texture, homography, size[::-1], flags=cv2.INTER_CUBIC)
    return tuple(prepare(image, None, resize=RESIZE, name="image") for image in (texture, image1))


TURN = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, SIZE[1] - 1.0], [0.0, 0.0, 1.0]])  # by a quarter
HALVE = np.array([[0.5, 0.0, -0.25], [0.0, 0.5, -0.25], [0.0, 0.0, 1.0]])
SLANT = np.array([[0.9, 0.1, 8.3], [-0.1, 1.0, 12.6], [2e-4, -1e-4, 1.0]])


@pytest.mark.parametrize(
    ("homography", "size"),
    [(SLANT, SIZE), (TURN, SIZE[::-1]), (HALVE, (96, 128))],
    ids=["slant", "turn", "halve"],
)
def test_points_and_covariance_are_in_pixels_as_given(texture, points0, homography, size, rng):
    images = images_of(texture, homography, size)
    true = warp_points(homography, points0)
    given = matches_of(points0, true + rng.normal(0, 0.7, true.shape), scale=size[1] / SIZE[1])
    found = polished(given, *images, RESIZE)[0]
    k = len(true)
    error = np.linalg.norm(found.keypoints1[:k] - true, axis=1)
    moved = (found.keypoints1 != given.keypoints1).any(axis=1)[:k]
    assert moved.mean() > 0.9
    assert np.median(error[moved]) < 0.1
    assert found.sigma[:k][moved].max() < 0.5
    for name in ("keypoints0", "confidence", "scale", "cell0", "cell1", "valid"):
        np.testing.assert_array_equal(getattr(found, name), getattr(given, name))


def test_rows_that_are_no_matches_stay_empty(texture, points0):
    images = images_of(texture, SLANT, SIZE)
    given = matches_of(points0, warp_points(SLANT, points0) + 0.5)
    found, _ = polished(given, *images, RESIZE)
    for name, value in vars(found).items():
        empty = -1 if name.startswith("cell") else 0
        assert (np.asarray(value)[len(points0) :] == empty).all(), name
    nothing = jax.tree.map(lambda x: x[:0], given)
    assert len(polished(nothing, *images, RESIZE)[0]) == 0


def test_more_points_than_cells_are_all_polished(texture, points0):
    """A caller may ask for any number of points."""
    images = images_of(texture, SLANT, SIZE)
    many = np.repeat(points0, 10, axis=0) + np.linspace(0, 0.9, 10 * len(points0))[:, None]
    true = warp_points(SLANT, many)
    given = matches_of(many, true + 0.6, rows=len(many))
    found = polished(given, *images, RESIZE)[0]
    assert (found.keypoints1 != given.keypoints1).any(axis=1).mean() > 0.9
    assert np.median(np.linalg.norm(found.keypoints1 - true, axis=1)) < 0.1


def test_what_does_not_settle_is_left_out_and_the_order_stays(texture, points0):
    """Every third match is too far off to settle."""
    images = images_of(texture, SLANT, SIZE)
    true = warp_points(SLANT, points0)
    lost = np.arange(len(true)) % 3 == 0
    given = matches_of(points0, true + np.where(lost[:, None], 25.0, 0.4))
    matches, settled = polished(given, *images, RESIZE)
    found = only(matches, exact(matches.valid, settled))
    count = found.valid.sum()
    assert ENOUGH < count < 0.8 * len(true)
    assert found.valid[:count].all()
    assert not lost[found.cell0[:count]].any()
    assert (np.diff(found.confidence[:count]) < 0).all()
    np.testing.assert_array_equal(found.keypoints0[:count], given.keypoints0[found.cell0[:count]])
    assert (found.cell0[count:] == -1).all()
    assert (found.keypoints1[count:] == 0).all()


@pytest.mark.parametrize(("settled", "left"), [(ENOUGH, ENOUGH), (ENOUGH - 1, 30)])
def test_all_stay_where_too_few_settle(settled, left):
    valid = np.arange(40) < 30
    both = np.stack([np.arange(40) < settled, np.zeros(40, bool)])
    assert exact(np.stack([valid, valid]), both).sum(axis=1).tolist() == [left, 30]


def test_less_sure_matches_fill_up_what_is_exact():
    confidence = np.linspace(1, 0.3, 701)
    settled = np.arange(701) % 3 > 0
    keep = exact_with_less_sure(confidence, settled, 0.9)  # 67 of 100 settle above it
    assert keep.sum() == PLENTY
    assert (keep[:150] == settled[:150]).all()
    assert not keep[150:].any()
    keep = exact_with_less_sure(confidence, settled, 0.5)
    assert (keep == settled & (confidence > 0.5)).all()


def test_the_rows_of_a_batch_are_chosen_pair_by_pair(points0):
    given = matches_of(points0, points0)
    keep = np.stack([given.cell0 % 2 == 0, given.cell0 == 5])
    both = only(jax.tree.map(lambda x: jnp.stack([x, x]), given), keep)
    assert isinstance(both.valid, jax.Array)
    for k, rows in enumerate(keep):
        alone = only(given, rows)
        assert (alone.cell0[: rows.sum()] == np.flatnonzero(rows)).all()
        jax.tree.map(np.testing.assert_array_equal, both[k], alone)
