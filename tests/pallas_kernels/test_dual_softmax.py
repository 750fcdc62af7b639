"""P on listed pairs: every implementation against the dense dual softmax in NumPy."""

import dataclasses
import functools
import importlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import SHAPES, random_spots
from references import (
    assert_close,
    dense_dual_gradients,
    dense_log_prob,
    seen_by_lists,
    seen_by_spots,
)

from pallas_kernels.sparse_attention import (
    Lists,
    Spots,
    sparse_dual_softmax,
    spot_dual_softmax,
)
from pallas_kernels.sparse_attention.dispatch import TILES_OR_LISTS
from pallas_kernels.sparse_attention.dual_softmax import matrix_by
from pallas_kernels.sparse_attention.pairs import NOTHING

SCALE, CHANNELS = 0.25, 6
LISTS = (45, 37, 9)  # queries, keys, slots
CASES = [("gather", LISTS), ("pallas_lists", LISTS), ("pallas_lists", SHAPES[0])]
CASES += [("pallas_tiles", shape) for shape in SHAPES[:3]] + [("tiles_or_lists", SHAPES[0])]
EVERY = pytest.mark.parametrize(("implementation", "shape"), CASES, ids=str)
EACH = pytest.mark.parametrize(
    ("implementation", "shape"),
    [("gather", LISTS), ("pallas_lists", LISTS), ("pallas_tiles", SHAPES[0])],
    ids=str,
)


def make_index(shape, seed):
    """Lists or spots, with empty queries, and keys that nobody lists."""
    if shape != LISTS:
        return random_spots(shape, seed, missing=0.6, masked=0.4)
    (n, m, s), rng = shape, np.random.default_rng(seed)
    cells = np.stack([rng.permutation(m - 4)[:s] for _ in range(n)])
    cells[rng.random(cells.shape) < 0.4] = -1
    cells[3] = -1
    return Lists(jnp.asarray(cells, jnp.int32), m)


def seen_by(index):
    if isinstance(index, Spots):
        return seen_by_spots(index)
    return seen_by_lists(index.cells, index.num_keys)


def make_matrix(implementation, f0, f1, index):
    """P by the door, and by what None runs on a GPU, which has no name there."""
    if implementation == TILES_OR_LISTS:
        return matrix_by(implementation, f0, f1, index, SCALE)
    knobs = {"scale": SCALE, "implementation": implementation}
    if isinstance(index, Spots):
        return spot_dual_softmax(f0, f1, **index.arguments(), **knobs)
    return sparse_dual_softmax(f0, f1, index.cells, **knobs)


@functools.partial(jax.jit, static_argnums=0)
def everything(implementation, f0, f1, index, cotangents):
    """log P at all pairs [n m], lse0, lse1, best log P; what is held, best; gradients."""
    n, m = len(f0), len(f1)

    def values(f0, f1):
        matrix = make_matrix(implementation, f0, f1, index)
        i, j = jnp.divmod(jnp.arange(n * m), m)
        log_prob, held = (x.reshape(n, m) for x in matrix.log_prob_at(i, j))
        numbers = log_prob, matrix.lse0, matrix.lse1, matrix.best_log_prob
        return numbers, (held, matrix.best)

    numbers, pull, others = jax.vjp(values, f0, f1, has_aux=True)
    return numbers, others, pull(cotangents)


def make_inputs(index, seed, dtype=jnp.float32):
    """f0, f1, index, and cotangents for log P, lse0, lse1 and the best log P."""
    rng = np.random.default_rng(seed)
    n, m = seen_by(index).shape
    f0, f1 = (jnp.asarray(rng.normal(size=(x, CHANNELS)), dtype) for x in (n, m))
    shapes = ((n, m), (n,), (m,), (n,))
    cotangents = tuple(jnp.asarray(rng.normal(size=x), jnp.float32) for x in shapes)
    return f0, f1, index, cotangents


def assert_agrees(results, f0, f1, index, cotangents, grad_tol=1e-4):
    """Everything but the best keys: the dense formula. Best keys: none beats them."""
    (log_prob, lse0, lse1, best_log_prob), (held, best), gradients = results
    seen = seen_by(index)
    expected = dense_log_prob(f0, f1, seen, SCALE)
    np.testing.assert_array_equal(held, seen)
    best_expected = expected[0].max(axis=1)
    numbers = (log_prob, lse0, lse1, best_log_prob)
    for actual, wanted in zip(numbers, (*expected, best_expected), strict=True):
        some = wanted > NOTHING
        np.testing.assert_array_equal(np.asarray(actual)[~some], np.float32(NOTHING))
        assert_close((np.asarray(actual)[some], ()), (wanted[some], ()))
    some = seen.any(axis=1)
    np.testing.assert_array_equal(np.asarray(best)[~some], -1)
    mine = expected[0][np.flatnonzero(some), np.asarray(best)[some]]
    np.testing.assert_allclose(mine, best_expected[some], atol=1e-4)
    g, g0, g1, _ = (np.asarray(x, np.float64) for x in cotangents)
    wanted = dense_dual_gradients(f0, f1, seen, SCALE, g, g0, g1)
    assert_close((mine, gradients), (mine, wanted), grad_tol=grad_tol)


@EVERY
@settings(deadline=None, max_examples=6, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_agrees_with_the_dense_dual_softmax(implementation, shape, seed):
    inputs = make_inputs(make_index(shape, seed), seed)
    assert_agrees(everything(implementation, *inputs), *inputs)


@pytest.mark.parametrize(
    ("implementation", "shape"), [("pallas_lists", LISTS), ("pallas_tiles", SHAPES[0])], ids=str
)
def test_the_papers_channels_are_walked_in_chunks(implementation, shape, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "CHANNELS", 256)
    f0, f1, *rest = make_inputs(make_index(shape, 5), 5)
    inputs = f0 / 3, f1 / 3, *rest  # scores of about the size that six channels give
    assert_agrees(everything(implementation, *inputs), *inputs)


@pytest.mark.parametrize("implementation", ["gather", "pallas_lists", "pallas_tiles"])
def test_no_slot_and_no_window_hold_nothing(implementation):
    f0 = jnp.ones((6, 4))
    none = jnp.zeros((6, 0), jnp.int32)
    if implementation == "pallas_tiles":
        grids = {"grid0": (2, 3), "grid1": (2, 3), "window": 3}
        p = spot_dual_softmax(f0, f0, none, scale=1.0, implementation=implementation, **grids)
    else:
        p = sparse_dual_softmax(f0, f0, none, scale=1.0, implementation=implementation)
    np.testing.assert_array_equal(p.best, -1)
    assert not p.log_prob_at(jnp.arange(6), jnp.arange(6))[1].any()


def test_a_scale_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match=r"scale must be positive, got -1"):
        sparse_dual_softmax(jnp.ones((2, 4)), jnp.ones((2, 4)), jnp.zeros((2, 1), int), scale=-1)


@EACH
def test_empty_queries_and_keys_that_nobody_lists_are_in_the_cases(implementation, shape):
    seen = seen_by(make_index(shape, 0))
    assert not seen.any(axis=1).all()
    assert not seen.any(axis=0).all()
    assert seen.any()


@EACH
def test_an_empty_matrix_has_no_best_keys_and_no_gradient(implementation, shape):
    index = make_index(shape, 0)
    if shape == LISTS:
        index = dataclasses.replace(index, cells=jnp.full_like(index.cells, -1))
    else:
        index = dataclasses.replace(index, centres=jnp.full_like(index.centres, -1))
    inputs = make_inputs(index, 0)
    numbers, (held, best), gradients = everything(implementation, *inputs)
    for x in numbers:
        np.testing.assert_array_equal(x, np.float32(NOTHING))
    assert not held.any()
    np.testing.assert_array_equal(best, -1)
    for x in gradients:
        np.testing.assert_array_equal(x, 0)


@EACH
def test_two_runs_give_the_same_bits(implementation, shape):
    inputs = make_inputs(make_index(shape, 1), 1)
    once, again = (everything(implementation, *inputs) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, once, again)


@pytest.mark.parametrize("implementation", ["gather", "pallas_lists"])
def test_ties_go_to_the_lower_key_wherever_it_stands_in_the_list(implementation):
    n, m, s = LISTS
    cells = np.full((n, s), -1, np.int32)
    cells[:, [0, 3, 8]] = [9, 5, 7]
    f0, f1, index, cotangents = make_inputs(Lists(jnp.asarray(cells), m), 0)
    ones = jnp.ones_like(f0), jnp.ones_like(f1)
    (*_, log_prob), (_, best), _ = everything(implementation, *ones, index, cotangents)
    np.testing.assert_array_equal(best, 5)
    np.testing.assert_allclose(log_prob, -np.log(3) - np.log(n), rtol=1e-6)


@pytest.mark.parametrize("implementation", ["pallas_lists", "pallas_tiles", "tiles_or_lists"])
def test_ties_go_to_the_lower_key_in_whatever_tile_it_lies(implementation):
    # The 5x5 window around (7, 7) lies on four tiles. Its first row is hidden in the first tile,
    # so that the lowest key, row 5 and column 8, is in the second one.
    shape = SHAPES[0]
    centres = jnp.full((35, shape.windows), 7 * 11 + 7, jnp.int32)
    hidden = jnp.zeros((9, 11), bool).at[5, 5:8].set(True).reshape(-1)
    index = Spots(centres, jnp.ones(35, bool), ~hidden, shape.grid0, shape.grid1, shape.window)
    f0, f1, index, cotangents = make_inputs(index, 0)
    ones = jnp.ones_like(f0), jnp.ones_like(f1)
    _, (_, best), _ = everything(implementation, *ones, index, cotangents)
    np.testing.assert_array_equal(best, 5 * 11 + 8)


def test_bfloat16_features_are_taken_as_float32_numbers():
    inputs = make_inputs(make_index(LISTS, 0), 0, jnp.bfloat16)
    results = everything("gather", *inputs)
    assert {x.dtype for x in results[0]} == {jnp.dtype(jnp.float32)}
    assert {x.dtype for x in results[2]} == {jnp.dtype(jnp.bfloat16)}
    assert_agrees(results, *inputs, grad_tol=2e-2)


def test_the_scores_of_large_problems_are_gathered_with_the_same_result(monkeypatch):
    # The module, whose name the package gives to its door.
    module = importlib.import_module("pallas_kernels.sparse_attention.dual_softmax")
    monkeypatch.setattr(module, "_DENSE_PAIRS", 0)
    inputs = make_inputs(make_index(LISTS, 2), 2)
    gathered = jax.jit(everything.__wrapped__, static_argnums=0)("gather", *inputs)
    assert_agrees(gathered, *inputs)


def test_vmap_treats_each_problem_alone():
    problems = [make_inputs(make_index(SHAPES[0], seed), seed) for seed in range(2)]
    batch = jax.tree.map(lambda *x: jnp.stack(x), *problems)
    results = jax.jit(jax.vmap(functools.partial(everything, "pallas_tiles")))(*batch)
    for b, inputs in enumerate(problems):
        assert_agrees(jax.tree.map(lambda x, b=b: x[b], results), *inputs)


@pytest.mark.parametrize("shape", [LISTS, SHAPES[0]], ids=str)
def test_pairs_with_a_negative_index_are_not_held(shape):
    f0, f1, index, _ = make_inputs(make_index(shape, 0), 0)
    query, key = np.argwhere(seen_by(index))[0]
    i, j = jnp.array([query, -1, query, -1]), jnp.array([key, key, -1, -1])
    log_prob, held = jax.jit(
        lambda *f: make_matrix("gather", *f, index).log_prob_at(i, j),
    )(f0, f1)
    np.testing.assert_array_equal(held, [True, False, False, False])
    np.testing.assert_array_equal(log_prob[1:], np.float32(NOTHING))
