import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.config import FineConfig
from astr_jax.model.fine import (
    FineMatching,
    crop_offsets,
    crops,
    expectation,
    in_steps,
    padded_cells,
)
from astr_jax.types import Features, Refined

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
    offsets = np.array([(x, y) for y in (-1, -0.5, 0, 0.5, 1) for x in (-1, -0.5, 0, 0.5, 1)])
    np.testing.assert_allclose(crop_offsets(5), offsets)
    given = np.float32(query), np.float32(crop), seen
    delta, covariance = jax.jit(functools.partial(expectation, window=5))(*given)
    for k in range(30):
        heat = np.where(seen[k], np.exp(crop[k] @ query[k] / np.sqrt(8)), 0)
        heat /= heat.sum()
        mean = heat @ offsets
        expected = np.einsum("s,sx,sy->xy", heat, offsets - mean, offsets - mean)
        np.testing.assert_allclose(delta[k], mean, atol=1e-5)
        np.testing.assert_allclose(covariance[k], expected, atol=1e-5)


def test_a_certain_match_has_a_finite_gradient(rng):
    query, crop = np.ones((1, 8), np.float32), np.zeros((1, 25, 8), np.float32)
    crop[:, 3] = 1e3  # all weight on one sample: the variance is zero

    def log_determinant(crop):
        covariance = expectation(query, crop, jnp.ones((1, 25), bool), 5)[1]
        return jnp.linalg.slogdet(covariance)[1].sum()

    assert np.isfinite(log_determinant(crop))
    assert np.isfinite(jax.grad(log_determinant)(crop)).all()


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


CENTRE = np.array([8.0 * 6, 8.0 * 5], np.float32)  # of CELL


def at(points):
    return np.asarray(points, np.float32).reshape(1, -1, 2)


@pytest.fixture(scope="module", params=STRIDES, ids=["half", "quarter"])
def fine_stage(request):
    """(stride, inputs, run): run(features0, features1, context0, context1, points0, points1,
    ratio, zoom)."""
    stride = request.param
    module = FineMatching(CONFIG, stride)
    inputs = make_features(np.random.default_rng(5), stride)
    points, ratio = at([CENTRE] * 6), np.ones((1, 6), np.float32)
    variables = jax.jit(module.init)(jax.random.key(2), *inputs, points, points, ratio)
    return stride, inputs, jax.jit(functools.partial(module.apply, variables))


@pytest.mark.parametrize("zoom", [1.0, 2.0, 0.5])
def test_points_are_the_centre_plus_delta_times_the_reach_of_the_crop(fine_stage, zoom):
    stride, inputs, run = fine_stage
    ratio = np.array([[1.0, 2.0, 0.5, 4.0, 9.0, 0.1]], np.float32)
    points0, points1 = at([CENTRE] * 6), at([CENTRE + np.array([1.5, -2])] * 6)
    out = jax.tree.map(np.asarray, run(*inputs, points0, points1, ratio, zoom))
    size = 5 * zoom * np.clip(ratio, 1, 4)  # s_j
    reach = 2 * size / 5 * stride
    np.testing.assert_allclose(out.reach, reach, rtol=1e-6)
    np.testing.assert_array_equal(out.centres1, points1)
    np.testing.assert_allclose(out.points1, points1 + out.delta * reach[..., None], rtol=1e-6)
    assert (np.abs(out.delta) <= 1).all()
    assert (np.abs(out.delta) > 1e-3).any()
    # In the same pixels: no variance is more than that of two far corners.
    variance = np.diagonal(out.covariance, axis1=-2, axis2=-1)
    assert ((variance > 0) & (variance <= 1.001 * reach[..., None] ** 2)).all()
    assert (np.linalg.det(out.covariance) > 0).all()


def test_the_image_where_things_look_larger_is_sampled_wider(fine_stage):
    stride, (features0, features1, *context), run = fine_stage
    points0, points1 = at([CENTRE]), at([CENTRE + 8.0])

    def total(fine0, fine1, ratio, zoom):
        f0, f1 = features0.replace(fine=fine0), features1.replace(fine=fine1)
        given = f0, f1, *context, points0, points1, jnp.full((1, 1), ratio), zoom
        return (run(*given).delta[0, 0] * jnp.array([1.0, 2.0])).sum()

    touched = jax.jit(jax.grad(total, argnums=(0, 1)))
    for ratio, zoom in ((1.0, 1.0), (4.0, 1.0), (0.25, 1.0), (2.0, 0.5)):
        gradient = touched(features0.fine, features1.fine, ratio, zoom)
        sizes = 5 * zoom * max(1, 1 / ratio), 5 * zoom * max(1, ratio)
        for g, size, (x, y) in zip(gradient, sizes, ((6, 5), (7, 6)), strict=True):
            rows, columns = np.nonzero(np.abs(g[0]).sum(axis=-1))
            step = 8 // stride
            places = np.arange(-2, 3) * size / 5
            # Between two samples of the map both are touched.
            cells = np.unique(np.concatenate([np.floor(places), np.ceil(places)]))
            np.testing.assert_array_equal(np.unique(columns), x * step + cells)
            np.testing.assert_array_equal(np.unique(rows), y * step + cells)


def test_the_context_is_that_of_the_point_wherever_it_lies(fine_stage):
    """Fails where context is taken from the nearest cell, or from the cell of the first estimate:
    at the centre of a cell it is the cell's, half way to the next one the mean of both."""
    _, (features0, features1, context0, context1), run = fine_stage
    ratio = np.ones((1, 3), np.float32)
    points1 = at([CENTRE + np.array([x, 0]) for x in (0, 8, 4)])

    def weights(context1):
        out = run(features0, features1, context0, context1, at([CENTRE] * 3), points1, ratio)
        return out.delta

    slope = jax.jit(jax.jacobian(weights))(context1)[0, :, 0, 0]  # [k n c]
    size = np.abs(slope).sum(axis=-1)
    for row, cells in enumerate(([CELL], [CELL + 1], [CELL, CELL + 1])):
        np.testing.assert_array_equal(np.flatnonzero(size[row]), cells)
    np.testing.assert_allclose(slope[2, CELL], slope[2, CELL + 1], rtol=1e-4)


def test_each_match_is_refined_by_itself(fine_stage, rng):
    _, inputs, run = fine_stage
    ratio = np.ones((1, 6), np.float32)
    points = [at(rng.uniform(0, (8 * WIDTH, 8 * HEIGHT), (6, 2))) for _ in range(2)]
    together = run(*inputs, *points, ratio)
    swapped = run(*inputs, *(p[:, ::-1] for p in points), ratio)
    np.testing.assert_allclose(swapped.points1[:, ::-1], together.points1, atol=1e-4)


def test_a_crop_without_a_usable_sample_gives_back_its_estimate(fine_stage):
    _, inputs, run = fine_stage
    points0, points1 = at([CENTRE]), at([[-500.0, 1e6]])
    out = run(*inputs, points0, points1, np.ones((1, 1), np.float32))
    np.testing.assert_allclose(out.points1, points1, atol=1e-3)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(out))


def test_every_step_starts_where_the_one_before_ended_and_at_its_own_zoom():
    """A step that goes half of the way to (10, 20), and says its zoom by its reach."""
    target = jnp.array([10.0, 20.0])

    def step(points1, zoom):
        moved = (points1 + target[None, None]) / 2
        ones = jnp.ones(points1.shape[:2])
        covariance = jnp.zeros((*ones.shape, 2, 2))
        return Refined(moved, points1, moved - points1, zoom * ones, covariance)

    steps = in_steps(step, jnp.zeros((1, 3, 2)), (2.0, 1.0, 0.5))
    np.testing.assert_allclose(steps.points1[:, 0, 0], [[5, 10], [7.5, 15], [8.75, 17.5]])
    np.testing.assert_allclose(steps.centres1[1:], steps.points1[:-1])
    np.testing.assert_allclose(steps.reach[:, 0, 0], [2, 1, 0.5])
    slope = jax.grad(lambda start: in_steps(step, start, (1.0, 1.0)).points1[-1].sum())
    assert (slope(jnp.zeros((1, 3, 2))) == 0).all()  # the estimate carries no gradient


def test_the_most_confident_matches_are_kept_sorted():
    cells = np.array([[7, -1, 5, 3, 9]])
    confidence = np.array([[0.2, 0.0, 0.9, 0.5, 0.0]], np.float32)
    matches = padded_cells(jnp.asarray(cells), jnp.asarray(confidence), 4)
    np.testing.assert_array_equal(matches.cell0, [[2, 3, 0, -1]])
    np.testing.assert_array_equal(matches.cell1, [[5, 3, 7, -1]])
    np.testing.assert_allclose(matches.confidence, [[0.9, 0.5, 0.2, 0.0]])
    np.testing.assert_array_equal(matches.valid, [[True, True, True, False]])
    assert padded_cells(jnp.asarray(cells), jnp.asarray(confidence), 99).cell0.shape == (1, 5)
