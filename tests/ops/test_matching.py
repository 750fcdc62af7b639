import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.ops import matching
from astr_jax.ops.matching import EMPTY
from pallas_kernels import sparse_attention

N, M, C, S, TEMPERATURE = 19, 23, 6, 7, 0.1


def features(rng, size=N + M):
    return np.split(rng.normal(size=(size, C)).astype(np.float32), [N])


def masks(kind, rng):
    mask0, mask1 = np.ones(N, bool), np.ones(M, bool)
    if kind == "some":
        mask0, mask1 = rng.random(N) < 0.7, rng.random(M) < 0.7
    elif kind == "no query":
        mask0[:] = False
    elif kind == "no key":
        mask1[:] = False
    return mask0, mask1


def dense_log_prob(f0, f1, allowed, xp=np):
    """The formula over the whole matrix: softmax along both sides, minus infinity outside."""
    sim = f0 @ f1.T / (C * TEMPERATURE)

    def log_softmax(axis):
        top = xp.where(allowed, sim, -1e30).max(axis=axis, keepdims=True)
        total = xp.where(allowed, xp.exp(xp.where(allowed, sim - top, 0.0)), 0.0)
        total = total.sum(axis=axis, keepdims=True)
        return sim - top - xp.log(xp.where(total > 0, total, 1.0))

    return xp.where(allowed, log_softmax(0) + log_softmax(1), -xp.inf)


def reference(f0, f1, mask0, mask1):
    return dense_log_prob(f0.astype(float), f1.astype(float), mask0[:, None] & mask1[None])


def all_pairs():
    return (x.ravel().astype(np.int32) for x in np.indices((N, M)))


dual_softmax = jax.jit(
    functools.partial(matching.dual_softmax, temperature=TEMPERATURE), static_argnames="block"
)
sparse_dual_softmax = functools.partial(
    sparse_attention.sparse_dual_softmax, scale=1 / (C * TEMPERATURE)
)
log_prob_at = jax.jit(matching.log_prob_at)
best_matches = jax.jit(matching.best_matches)


@pytest.mark.parametrize("kind", ["all", "some", "no query", "no key"])
@pytest.mark.parametrize("block", [1, 7, 19, 64])
def test_streamed_dual_softmax_is_the_dense_one(rng, block, kind):
    (f0, f1), (mask0, mask1) = features(rng), masks(kind, rng)
    matrix = dual_softmax(f0, f1, mask0, mask1, block=block)
    log_prob, held = log_prob_at(matrix, *all_pairs())
    expected = reference(f0, f1, mask0, mask1).ravel()
    np.testing.assert_array_equal(held, np.isfinite(expected))
    np.testing.assert_allclose(log_prob[held], expected[held], atol=2e-5)
    assert (log_prob[~held] == EMPTY).all()


@pytest.mark.parametrize("kind", ["all", "some", "no query", "no key"])
@pytest.mark.parametrize("block", [1, 7, 64])
def test_best_matches_are_those_of_the_dense_matrix(rng, block, kind):
    (f0, f1), (mask0, mask1) = features(rng), masks(kind, rng)
    best0, best1 = best_matches(dual_softmax(f0, f1, mask0, mask1, block=block))
    expected = reference(f0, f1, mask0, mask1)
    for best, axis in ((best0, 1), (best1, 0)):
        top = expected.max(axis=axis)
        some = np.isfinite(top)
        np.testing.assert_array_equal(best.cell, np.where(some, expected.argmax(axis=axis), -1))
        np.testing.assert_allclose(best.log_prob[some], top[some], atol=2e-5)
        assert (best.log_prob[~some] == EMPTY).all()


def test_the_best_of_p_is_not_the_best_of_the_similarity(rng):
    f0, f1 = features(rng)
    f1[3] *= 20  # near to many queries, so that its column is crowded
    mask0, mask1 = masks("all", rng)
    best0, _ = best_matches(dual_softmax(f0, f1, mask0, mask1, block=8))
    expected = reference(f0, f1, mask0, mask1).argmax(axis=1)
    assert (expected != (f0 @ f1.T).argmax(axis=1)).any()
    np.testing.assert_array_equal(best0.cell, expected)


@pytest.mark.parametrize("block", [4, 64])
def test_ties_go_to_the_lower_index_across_blocks_too(rng, block):
    mask0, mask1 = masks("all", rng)
    mask0[:2], mask1[:3] = False, False
    # All similarities are one number, and a sum of equal terms is exact.
    matrix = dual_softmax(np.ones((N, C)), np.ones((M, C)), mask0, mask1, block=block)
    best0, best1 = best_matches(matrix)
    np.testing.assert_array_equal(best0.cell, np.where(mask0, 3, -1))
    np.testing.assert_array_equal(best1.cell, np.where(mask1, 2, -1))


@pytest.mark.parametrize("kind", ["all", "some", "no key"])
@pytest.mark.parametrize("block", [6, 64])
def test_gradients_of_log_p_are_those_of_the_dense_formula(rng, block, kind):
    (f0, f1), (mask0, mask1) = features(rng), masks(kind, rng)
    allowed, weight = mask0[:, None] & mask1[None], rng.normal(size=(N, M)).astype(np.float32)
    cell0, cell1 = all_pairs()

    def streamed(f0, f1):
        matrix = dual_softmax(f0, f1, mask0, mask1, block=block)
        log_prob, held = log_prob_at(matrix, cell0, cell1)
        return jnp.where(held, log_prob * weight.ravel(), 0.0).sum()

    def dense(f0, f1):
        log_prob = dense_log_prob(f0, f1, allowed, jnp)
        return jnp.where(allowed, jnp.where(allowed, log_prob, 0.0) * weight, 0.0).sum()

    actual, expected = (jax.jit(jax.grad(f, argnums=(0, 1)))(f0, f1) for f in (streamed, dense))
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, atol=1e-4)
    assert kind == "no key" or np.abs(expected[0]).max() > 0.1


def test_very_large_similarities_stay_finite(rng):
    f0, f1 = (100 * f for f in features(rng))  # logits of tens of thousands
    mask0, mask1 = masks("all", rng)

    def some_log_prob(f0, f1):
        matrix = dual_softmax(f0, f1, mask0, mask1, block=8)
        return log_prob_at(matrix, jnp.arange(N), jnp.arange(N))[0].sum()

    value, gradient = jax.value_and_grad(some_log_prob, argnums=(0, 1))(f0, f1)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in gradient)


def test_a_key_listed_once_has_column_probability_one(rng):
    (f0, f1), lists = features(rng), np.full((N, S), -1, np.int32)
    lists[4, 2], lists[9, :2] = 11, (12, 13)
    matrix = sparse_dual_softmax(f0, f1, lists)
    log_prob, held = log_prob_at(matrix, jnp.array([4, 9, 9]), jnp.array([11, 12, 13]))
    assert held.all()
    np.testing.assert_allclose(log_prob[0], 0.0, atol=1e-6)  # the only key, listed once
    sim = f0[9].astype(float) @ f1[12:14].T / (C * TEMPERATURE)
    row = sim - np.log(np.exp(sim).sum())  # the row softmax alone
    np.testing.assert_allclose(log_prob[1:], row, atol=1e-5)


def test_pairs_without_a_cell_are_not_held(rng):
    (f0, f1), (mask0, mask1) = features(rng), masks("all", rng)
    mask1[2] = False
    matrix = dual_softmax(f0, f1, mask0, mask1, block=8)
    cell0, cell1 = jnp.array([-1, 3, -1, 4, 0]), jnp.array([3, -1, -1, 2, 0])
    log_prob, held = log_prob_at(matrix, cell0, cell1)
    np.testing.assert_array_equal(held, [False, False, False, False, True])
    assert (log_prob[:4] == EMPTY).all()
    sparse = sparse_dual_softmax(f0, f1, np.zeros((N, 1), np.int32))
    np.testing.assert_array_equal(log_prob_at(sparse, cell0, cell1)[1], held)


def test_the_share_is_the_softmax_over_the_keys_alone(rng):
    f0, f1 = features(rng)
    mask0, mask1 = masks("some", rng)
    matrix = matching.dual_softmax(f0, f1, mask0, mask1, temperature=TEMPERATURE, block=5)
    query, key = (jnp.asarray(a.ravel()) for a in np.mgrid[:N, :M])
    weight = np.exp(f0.astype(float) @ f1.T / (C * TEMPERATURE)) * mask0[:, None] * mask1[None]
    for p, w in ((matrix, weight), (matrix.transposed(), weight.T)):
        a, b = (query, key) if p is matrix else (key, query)
        expected = w / np.maximum(w.sum(axis=1, keepdims=True), 1e-300)
        found = np.exp(matching.log_share_at(p, a, b))
        np.testing.assert_allclose(found, expected[np.asarray(a), np.asarray(b)], rtol=1e-4)
    nothing = matching.log_share_at(matrix, jnp.array([-1, 0]), jnp.array([0, -1]))
    assert (nothing == EMPTY).all()
