import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.config import FineConfig
from astr_jax.model.fine import FineMatching, crop_offsets, crops, expectation, padded_cells
from astr_jax.types import CoarseMatches, Features

HEIGHT, WIDTH = 12, 14  # coarse cells
CONFIG = FineConfig(head_dim=4)
STRIDES = (2, 4)
CELL = 5 * WIDTH + 6  # (x, y) = (6, 5): 5 coarse cells or more from every border


@pytest.mark.parametrize("size", [5.0, 7.5, 20.0])
def test_crops_sample_five_by_five_places_at_size_over_five_apart(size):
    y, x = np.mgrid[:40, :50].astype(np.float32)
    places = np.stack([x, y], axis=-1)  # a map whose value is its own coordinate
    centre = np.array([[20.0, 18.0]], np.float32)
    cut = jax.jit(functools.partial(crops, window=5))
    samples, seen = cut(places, np.ones((40, 50), bool), centre, np.array([size], np.float32))
    expected = [
        (20 + dx * size / 5, 18 + dy * size / 5) for dy in range(-2, 3) for dx in range(-2, 3)
    ]
    np.testing.assert_allclose(samples[0], expected, atol=1e-5)
    assert seen.all()


def test_samples_beyond_border_and_mask_are_not_seen():
    mask = np.ones((8, 8), bool)
    mask[:, 6:] = False
    seen = crops(np.ones((8, 8, 1), np.float32), mask, np.array([[5.0, 1.0]]), np.array([5.0]), 5)[
        1
    ]
    expected = [[0 <= y < 8 and x < 6 for x in range(3, 8)] for y in range(-1, 4)]
    np.testing.assert_array_equal(seen[0], np.ravel(expected))


def test_expectation_is_the_soft_argmax_over_the_seen_samples(rng):
    query, crop = rng.normal(size=(30, 8)), 2 * rng.normal(size=(30, 25, 8))
    seen = rng.random((30, 25)) < 0.7
    offsets = [(x, y) for y in (-1, -0.5, 0, 0.5, 1) for x in (-1, -0.5, 0, 0.5, 1)]
    np.testing.assert_allclose(crop_offsets(5), offsets)
    given = np.float32(query), np.float32(crop), seen
    delta, deviation = jax.jit(functools.partial(expectation, window=5))(*given)
    for k in range(30):
        heat = np.where(seen[k], np.exp(crop[k] @ query[k] / np.sqrt(8)), 0)
        heat /= heat.sum()
        mean = heat @ offsets
        variance = heat @ (np.array(offsets) - mean) ** 2
        np.testing.assert_allclose(delta[k], mean, atol=1e-5)
        np.testing.assert_allclose(deviation[k], np.sqrt(variance.sum() / 2), atol=1e-4)


def test_a_certain_match_has_a_finite_gradient(rng):
    query, crop = np.ones((1, 8), np.float32), np.zeros((1, 25, 8), np.float32)
    crop[:, 3] = 1e3  # all weight on one sample: the variance is zero

    def deviation(crop):
        return expectation(query, crop, jnp.ones((1, 25), bool), 5)[1].sum()

    assert np.isfinite(jax.grad(deviation)(crop)).all()


def make_features(rng, stride):
    def one():
        size = HEIGHT * 8 // stride, WIDTH * 8 // stride
        return Features(
            coarse32=np.zeros((1, HEIGHT // 4, WIDTH // 4, 4), np.float32),
            coarse8=np.zeros((1, HEIGHT, WIDTH, 4), np.float32),
            fine=rng.normal(size=(1, *size, 4)).astype(np.float32),
            mask32=np.ones((1, HEIGHT // 4, WIDTH // 4), bool),
            mask8=np.ones((1, HEIGHT, WIDTH), bool),
            fine_mask=np.ones((1, *size), bool),
        )

    n = HEIGHT * WIDTH
    return one(), one(), *(rng.normal(size=(1, n, 8)).astype(np.float32) for _ in range(2))


def make_matches(cells0, cells1):
    cell0, cell1 = np.array([cells0], np.int32), np.array([cells1], np.int32)
    return CoarseMatches(cell0, cell1, np.ones(cell0.shape, np.float32), cell0 >= 0)


@pytest.fixture(scope="module", params=STRIDES, ids=["half", "quarter"])
def fine_stage(request):
    """(stride, inputs, run): run(features0, features1, coarse0, coarse1, matches, ratio)."""
    stride = request.param
    module = FineMatching(CONFIG, stride)
    inputs = make_features(np.random.default_rng(5), stride)
    matches = make_matches([CELL] * 6, [CELL] * 6)
    ratio = np.array([[1.0, 2.0, 0.5, 4.0, 9.0, 0.1]], np.float32)
    variables = jax.jit(module.init)(jax.random.key(2), *inputs, matches, ratio)
    run = jax.jit(functools.partial(module.apply, variables))
    return stride, inputs, matches, ratio, run


def test_points_are_the_centre_plus_delta_times_the_reach_of_the_crop(fine_stage):
    stride, inputs, matches, ratio, run = fine_stage
    out = jax.tree.map(np.asarray, run(*inputs, matches, ratio))
    centre = np.array([8.0 * 6, 8.0 * 5])
    np.testing.assert_array_equal(out.points0, np.broadcast_to(centre, (1, 6, 2)))
    size = 5 * np.clip(ratio, 1, 4)  # s_j
    reach = 2 * size / 5 * stride
    np.testing.assert_allclose(out.reach, reach, rtol=1e-6)
    np.testing.assert_allclose(out.points1, centre + out.delta * reach[..., None], rtol=1e-6)
    assert (np.abs(out.delta) <= 1).all()
    assert (np.abs(out.delta) > 1e-3).any()
    # sigma is the standard deviation in the same pixels: at most that of two far corners.
    assert ((out.sigma > 0) & (out.sigma <= reach)).all()


def test_the_image_where_things_look_larger_is_sampled_wider(fine_stage):
    stride, (features0, features1, *coarse), matches, _, run = fine_stage
    matches = jax.tree.map(
        lambda x: np.concatenate([x[:, :1], np.full_like(x[:, 1:], -1)], 1), matches
    )
    matches = matches.replace(valid=matches.cell0 >= 0)

    def total(fine0, fine1, ratio):
        f0, f1 = features0.replace(fine=fine0), features1.replace(fine=fine1)
        delta = run(f0, f1, *coarse, matches, jnp.full((1, 6), ratio)).delta
        return (delta[0, 0] * jnp.array([1.0, 2.0])).sum()

    touched = jax.jit(jax.grad(total, argnums=(0, 1)))
    for ratio in (1.0, 4.0, 0.25):
        gradient = touched(features0.fine, features1.fine, ratio)
        for g, size in zip(gradient, (5 * max(1, 1 / ratio), 5 * max(1, ratio)), strict=True):
            rows, columns = np.nonzero(np.abs(g[0]).sum(axis=-1))
            step = 8 // stride
            places = np.arange(-2, 3) * size / 5
            np.testing.assert_array_equal(np.unique(columns), 6 * step + places)
            np.testing.assert_array_equal(np.unique(rows), 5 * step + places)


def test_each_match_is_refined_by_itself(fine_stage, rng):
    _, inputs, _, _, run = fine_stage
    ratio = np.ones((1, 6), np.float32)
    cells = [rng.permutation(HEIGHT * WIDTH)[:6] for _ in range(2)]
    together = run(*inputs, make_matches(*cells), ratio)
    swapped = run(*inputs, make_matches(*(c[::-1] for c in cells)), ratio)
    np.testing.assert_allclose(swapped.points1[:, ::-1], together.points1, atol=1e-4)
    padded = [np.where(np.arange(6) < 3, c, -1) for c in cells]
    fewer = run(*inputs, make_matches(*padded), ratio)
    np.testing.assert_allclose(fewer.points1[:, :3], together.points1[:, :3], atol=1e-4)
    np.testing.assert_array_equal(fewer.valid, [[True] * 3 + [False] * 3])
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(fewer))


def test_the_most_confident_matches_are_kept_sorted():
    cells = np.array([[7, -1, 5, 3, 9]])
    confidence = np.array([[0.2, 0.0, 0.9, 0.5, 0.0]], np.float32)
    matches = padded_cells(jnp.asarray(cells), jnp.asarray(confidence), 4)
    np.testing.assert_array_equal(matches.cell0, [[2, 3, 0, -1]])
    np.testing.assert_array_equal(matches.cell1, [[5, 3, 7, -1]])
    np.testing.assert_allclose(matches.confidence, [[0.9, 0.5, 0.2, 0.0]])
    np.testing.assert_array_equal(matches.valid, [[True, True, True, False]])
    assert padded_cells(jnp.asarray(cells), jnp.asarray(confidence), 99).cell0.shape == (1, 5)
