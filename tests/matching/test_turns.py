"""Turns: what is found in a turned image comes back to the image as given."""

import numpy as np
import pytest

import astr_jax
from astr_jax.geometry import (
    enlarged_points,
    turned_back,
    turned_camera,
    turned_shape,
    warp_points,
)
from astr_jax.images import prepare
from astr_jax.matching import Matcher, programs
from astr_jax.matching.first_look import Look
from astr_jax.matching.turns import BETWEEN, QUARTERS, matches_turned_back
from astr_jax.matching.working import working_intrinsics
from astr_jax.ops.pose import pixel_rays
from astr_jax.params import Calibration, Params, fold_params
from astr_jax.types import Matches

RESIZE = 128
TURNED = QUARTERS[1:]
K = np.array([[90.0, 3.0, 60.0], [0.0, 110.0, 50.0], [0.0, 0.0, 1.0]])  # with skew


@pytest.fixture(scope="module")
def params(nano_config, nano_variables):
    return fold_params(Params(nano_variables, nano_config, Calibration(threshold=0.0)))


@pytest.fixture(scope="module")
def pair():
    """A smooth random picture, and the same a little darker, of sides that 8 does not divide."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(126), np.arange(93))
    waves = [
        np.sin(a * x + b * y + c)
        for a, b, c in zip(*rng.uniform(-0.5, 0.5, (2, 40)), rng.uniform(0, 6, 40), strict=True)
    ]
    image = np.sum(waves, axis=0)
    image = np.uint8(255 * (image - image.min()) / np.ptp(image))
    return image, np.uint8(0.9 * image + 10)


def find(params, img0, img1, *, least=4, **options):
    found = astr_jax.match(params, img0, img1, resize=RESIZE, **options).compact()
    assert len(found) >= least
    return found


def laid(image, turn):
    """The image as it lies in a file if it must be turned so far to stand."""
    return np.rot90(image, -turn)


@pytest.mark.parametrize("turn", QUARTERS)
def test_a_pixel_of_the_turned_image_is_found_in_the_image(turn):
    image = np.arange(5 * 7).reshape(5, 7)
    turned = np.rot90(image, turn)
    y, x = np.indices(turned.shape).reshape(2, -1)
    back = turned_back(image.shape, turn) @ np.stack([x, y, np.ones_like(x)])
    column, row, _ = back.astype(int)
    np.testing.assert_array_equal(image[row, column], turned.ravel())


@pytest.mark.parametrize("turn", QUARTERS + BETWEEN)
def test_the_turned_camera_sees_what_the_camera_sees(turn):
    shape = (93, 126)
    points = np.random.default_rng(int(2 * turn)).uniform([-1, -1, 2], [1, 1, 4], (20, 3))
    pixels = points @ K.T
    angle = turn * np.pi / 2  # anticlockwise in the picture, whose y points down
    cos, sin = np.cos(angle), np.sin(angle)
    rotated = points @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]).T
    camera = turned_camera(K, shape, turn)
    turned = rotated @ camera.T
    turned /= turned[:, 2:]
    back = turned @ turned_back(shape, turn).T
    np.testing.assert_allclose(back[:, :2], pixels[:, :2] / pixels[:, 2:], atol=1e-9)
    rays = pixel_rays(np.float32(turned[:, :2]), np.float32(camera))
    np.testing.assert_allclose(rays, rotated / rotated[:, 2:], atol=1e-5)


@pytest.mark.parametrize("turn", QUARTERS + BETWEEN)
def test_the_camera_of_a_turned_image_is_the_camera_of_the_image_turned_when_it_is_small(turn):
    stands = prepare(np.zeros((301, 517), np.uint8), None, resize=100, name="image")
    lies = stands.turned(turn)
    expected = turned_camera(working_intrinsics(K, stands, "K1"), stands.shape, turn)
    tolerance = 0.2 if turn % 1 else 1e-5  # the short side was rounded
    np.testing.assert_allclose(working_intrinsics(K, lies, "K1"), expected, 1e-4, tolerance)


@pytest.mark.parametrize("turn", TURNED)
def test_a_cell_becomes_the_nearest_cell(turn):
    width, shape = 16, (93, 126)  # 12 x 16 cells; the last ones reach out of the image
    given = tuple(3 * n for n in shape)
    lies = prepare(np.zeros(given, np.uint8), None, resize=126, name="image").turned(turn)
    rows, columns = (-(-n // 8) for n in turned_shape(shape, turn))
    cells = (np.arange(rows)[:, None] * width + np.arange(columns)).ravel()
    zeros = np.zeros(len(cells))
    points = np.stack([zeros, zeros], axis=-1)
    valid = cells % 3 > 0
    covariance = np.tile([[4.0, 1.0], [1.0, 2.0]], (len(cells), 1, 1))
    matches = Matches(points, points, zeros, covariance, zeros, cells, cells, valid)
    found = matches_turned_back(matches, lies, width)
    corner = turned_back(given, turn)[:2, 2]
    np.testing.assert_array_equal(found.keypoints1[valid], np.tile(corner, (valid.sum(), 1)))
    centres = np.stack([cells % width, cells // width, np.full(len(cells), 1 / 8)]) * 8
    centres = (turned_back(shape, turn) @ centres)[:2].T[valid]
    every = np.stack(np.meshgrid(np.arange(16), np.arange(12)), axis=-1).reshape(-1, 2) * 8
    nearest = np.abs(centres[:, None] - every).sum(axis=-1).min(axis=1)
    its_own = np.stack([found.cell1 % width, found.cell1 // width], axis=-1)[valid] * 8
    np.testing.assert_allclose(np.abs(centres - its_own).sum(axis=-1), nearest)
    inside = valid & (cells % width > 0) & (cells // width > 0)
    inside &= (cells % width < columns - 1) & (cells // width < rows - 1)
    assert len(set(found.cell1[inside])) == inside.sum() > 50
    assert (found.cell1[~valid] == -1).all()
    expected = [[2.0, -1.0], [-1.0, 4.0]] if turn % 2 else [[4.0, 1.0], [1.0, 2.0]]
    np.testing.assert_allclose(found.covariance[valid], np.tile(expected, (valid.sum(), 1, 1)))
    assert (found.keypoints1[~valid] == 0).all()


@pytest.mark.parametrize("turn", TURNED)
def test_an_image_that_lies_turned_gives_the_matches_of_the_image_that_stands(
    params, pair, turn, monkeypatch
):
    img0, img1 = pair
    mask = np.ones(img1.shape, bool)
    mask[:16, :24] = False
    expected = find(params, img0, img1, mask1=mask, K0=K, K1=K)
    given = laid(img1, turn)
    K1 = turned_camera(K, img1.shape, -turn % 4)
    monkeypatch.setattr(Matcher, "_look", sure_of(turn))
    found = find(params, img0, given, mask1=laid(mask, turn), K0=K, K1=K1, upright=False)
    np.testing.assert_array_equal(found.keypoints0, expected.keypoints0)
    np.testing.assert_array_equal(found.confidence, expected.confidence)
    np.testing.assert_allclose(found.scale, expected.scale, rtol=1e-4)
    points = np.c_[expected.keypoints1, np.ones(len(expected))]
    there = points @ turned_back(given.shape, turn).T
    np.testing.assert_allclose(found.keypoints1, there[:, :2], atol=1e-3)


@pytest.mark.parametrize("turn", BETWEEN)
def test_a_picture_between_two_quarters_is_turned_about_its_centre(turn):
    """Of a plane of grey values each pixel of the turned picture shows the place it comes from."""
    given, resize = (301, 517), 100
    y, x = np.indices(given)
    stands = prepare(np.float32(0.2 + x / 1000 + y / 2000), None, resize=resize, name="image")
    lies = stands.turned(turn)
    assert lies.shape == (resize, resize)
    assert lies.given_shape == (517, 517)
    y, x = np.nonzero(lies.mask[0])
    points = enlarged_points(np.stack([x, y], axis=-1), lies.scale)
    points = warp_points(turned_back(given, turn), points)
    assert len(points) > 0.9 * stands.mask.sum()
    assert (points > -2).all()
    assert (points < np.array(given[::-1]) + 1).all()
    expected = 0.2 + points @ [1 / 1000, 1 / 2000]
    inner = (points > 12).all(axis=1) & (points < np.array(given[::-1]) - 13).all(axis=1)
    np.testing.assert_allclose(lies.pixels[0, y, x][inner], expected[inner], atol=1e-4)


def test_a_picture_that_lies_between_two_quarters_is_matched(params, pair, monkeypatch):
    """What is matched is the picture itself, turned back by the first look's advice."""
    img0, img1 = pair
    monkeypatch.setattr(Matcher, "_look", sure_of(0.5))
    found = find(params, img0, img1, upright=False, polish=False, least=3)
    lies = prepare(img1, None, resize=RESIZE, name="image").turned(0.5)
    turned, seen = np.float32(lies.pixels[0]), lies.mask[0]
    expected = find(params, img0, turned, mask1=seen, upright=True, polish=False, least=3)
    np.testing.assert_array_equal(found.keypoints0, expected.keypoints0)
    there = warp_points(turned_back(img1.shape, 0.5), np.float64(expected.keypoints1))
    np.testing.assert_allclose(found.keypoints1, there, atol=1e-3)


def sure_of(turn):
    """What stands in for the first look, which random weights cannot take."""

    def look(self, image0, image1, tried, scale):
        image0.at(0, 2), image1.at(tried, 2)
        return Look(float(scale == 1), float(tried == turn))

    return look


def test_an_image_that_stands_gives_the_same_bits(params, pair, monkeypatch):
    monkeypatch.setattr(Matcher, "_look", sure_of(0))
    expected, found = find(params, *pair), find(params, *pair, upright=False)
    for name, value in vars(expected).items():
        np.testing.assert_array_equal(getattr(found, name), value, err_msg=name)


def test_match_pairs_tries_the_turns_of_each_image_once(params, pair, monkeypatch):
    img0, img1 = pair
    given = np.ascontiguousarray(laid(img1, 1))
    calls, encode = [], programs.run_encode
    monkeypatch.setattr(programs, "run_encode", lambda *a, **k: calls.append(1) or encode(*a, **k))
    monkeypatch.setattr(Matcher, "_look", sure_of(1))
    pairs = [(img0, given), (img0, img1), (given, img0)]
    found = astr_jax.match_pairs(params, pairs, resize=RESIZE, upright=False)
    found = [(matches, len(calls)) for matches in found]
    found, counts = zip(*found, strict=True)
    first, second = (1 + 1) + (4 + 1), 4 + 1  # a look and a view; four looks and a view
    third = 1 + (3 + 1)  # each was looked at as it is
    assert counts == (first, first + second, first + second + third)
    for both, matches in zip(pairs, found, strict=True):
        expected = find(params, *both, upright=False)
        np.testing.assert_array_equal(matches.compact().keypoints1, expected.keypoints1)


def test_a_batch_is_refused(params, pair):
    batch = np.stack([pair[0]] * 2)[..., None]
    with pytest.raises(ValueError, match=r"img1 is a batch, .* one pair at a time"):
        astr_jax.match(params, batch, batch, resize=RESIZE, upright=False)


def test_a_turned_image_knows_its_size_as_given():
    prepared = prepare(np.zeros((301, 517), np.uint8), None, resize=100, name="image")
    turned = prepared.turned(1)
    assert turned.given_shape == (517, 301)
    assert turned.shape == prepared.shape[::-1]
    assert turned.turned(3).given_shape == prepared.given_shape == (301, 517)
