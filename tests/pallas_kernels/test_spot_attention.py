"""spot_attention: every implementation against dense attention in NumPy."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import SHAPES, attend, random_features, random_spots, value_and_gradients
from references import ON_SPOTS, as_lists, assert_close, dense_reference, seen_by_spots

from pallas_kernels.sparse_attention import spot_attention
from pallas_kernels.sparse_attention.dispatch import choose_for_spots

PALLAS = ("pallas_lists", "pallas_tiles", "tiles_or_lists")
# Tiles depend on every number of a shape. The others see lists, or are made of these two.
HOW_MANY_SHAPES = {"pallas_tiles": len(SHAPES), "pallas_lists": 2}
CASES = [
    pytest.param(*case.values, shape, marks=case.marks)
    for case in (pytest.param(name) if isinstance(name, str) else name for name in ON_SPOTS)
    for shape in SHAPES[: HOW_MANY_SHAPES.get(case.values[0], 1)]
]
EVERY = pytest.mark.parametrize("implementation", PALLAS)


def expected_for(q, k, v, g, spots):
    return dense_reference(q, k, v, as_lists(seen_by_spots(spots)), g)


@pytest.mark.parametrize(("implementation", "shape"), CASES, ids=str)
@settings(deadline=None, max_examples=6, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    missing=st.sampled_from([0.0, 0.3, 0.9]),
    masked=st.sampled_from([0.0, 0.2, 0.8]),
)
def test_agrees_with_the_dense_reference(implementation, shape, seed, missing, masked):
    spots, inputs = random_spots(shape, seed, missing, masked), random_features(shape, seed)
    actual = value_and_gradients(implementation, *inputs, spots)
    assert_close(actual, expected_for(*inputs, spots))


@pytest.mark.parametrize("implementation", ["pallas_lists", "pallas_tiles"])
@settings(deadline=None, max_examples=4, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_bfloat16_in_gives_bfloat16_out_within_its_precision(implementation, seed):
    spots, inputs = random_spots(SHAPES[0], seed), random_features(SHAPES[0], seed, jnp.bfloat16)
    out, grads = value_and_gradients(implementation, *inputs, spots)
    assert {x.dtype for x in (out, *grads)} == {jnp.dtype(jnp.bfloat16)}
    expected = expected_for(*inputs, spots)
    assert_close((out, grads), expected, value_tol=2e-2, grad_tol=2e-2)


def test_wide_heads_are_walked_in_chunks():
    shape = dataclasses.replace(SHAPES[0], heads=1, channels=128)  # 512 bytes, in two chunks
    spots, inputs = random_spots(shape, 3), random_features(shape, 3)
    actual = value_and_gradients("pallas_tiles", *inputs, spots)
    assert_close(actual, expected_for(*inputs, spots))


def test_tiles_and_lists_agree_in_shapes_and_dtypes_of_bfloat16():
    spots, inputs = random_spots(SHAPES[0], 0), random_features(SHAPES[0], 0, jnp.bfloat16)
    results = jax.eval_shape(partial(value_and_gradients, "tiles_or_lists"), *inputs, spots)
    q, k, v, _ = inputs
    assert [x.dtype for x in jax.tree.leaves(results)] == [jnp.bfloat16] * 4
    assert [x.shape for x in jax.tree.leaves(results)] == [x.shape for x in (q, q, k, v)]


@EVERY
@pytest.mark.parametrize("cause", ["missing", "masked queries", "masked keys"])
def test_empty_spots_give_zero_and_zero_gradients(implementation, cause):
    spots, inputs = random_spots(SHAPES[0], 0, masked=0.0), random_features(SHAPES[0], 0)
    nothing = {
        "missing": {"centres": jnp.full_like(spots.centres, -1)},
        "masked queries": {"valid0": jnp.zeros_like(spots.valid0)},
        "masked keys": {"valid1": jnp.zeros_like(spots.valid1)},
    }
    spots = dataclasses.replace(spots, **nothing[cause])
    out, grads = value_and_gradients(implementation, *inputs, spots)
    for x in (out, *grads):
        np.testing.assert_array_equal(x, 0)


@EVERY
def test_huge_logits_of_keys_outside_the_spot_do_no_harm(implementation):
    spots, (q, k, v, g) = random_spots(SHAPES[0], 1, masked=0.5), random_features(SHAPES[0], 1)
    hidden = ~spots.valid1[:, None, None]
    q, k = jnp.abs(q), jnp.where(hidden, 1e4, k)
    actual = value_and_gradients(implementation, q, k, v, g, spots)
    assert_close(actual, expected_for(q, k, v, g, spots))


@EVERY
def test_large_logits_inside_the_spot_stay_finite(implementation):
    spots, (q, k, v, g) = random_spots(SHAPES[0], 1), random_features(SHAPES[0], 1)
    out, grads = value_and_gradients(implementation, 100 * q, 100 * k, v, g, spots)
    assert all(np.isfinite(x).all() for x in (out, *grads))
    assert np.abs(out).max() <= np.abs(v).max() * (1 + 1e-6)  # an average of values


@EVERY
def test_two_runs_give_the_same_bits(implementation):
    spots, inputs = random_spots(SHAPES[0], 2), random_features(SHAPES[0], 2)
    once, again = (value_and_gradients(implementation, *inputs, spots) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, once, again)


def test_no_query_and_no_window_give_zero():
    spots, (q, k, v, _) = random_spots(SHAPES[0], 0), random_features(SHAPES[0], 0)
    given = spots.arguments()
    none = given | {"centres": spots.centres[:, :0]}
    np.testing.assert_array_equal(spot_attention(q, k, v, **none), jnp.zeros_like(q))
    empty = given | {"centres": spots.centres[:0], "valid0": None, "grid0": (0, 7)}
    assert spot_attention(q[:0], k, v, **empty).shape == (0, 2, 8)


def test_no_masks_mean_that_all_cells_count():
    spots, (q, k, v, _) = random_spots(SHAPES[0], 0, masked=0.0), random_features(SHAPES[0], 0)
    unmasked = spots.arguments() | {"valid0": None, "valid1": None}
    out = jax.jit(lambda q: spot_attention(q, k, v, **unmasked, implementation="dense"))(q)
    np.testing.assert_array_equal(out, jax.jit(lambda q: attend("dense", q, k, v, spots))(q))


def test_none_equals_the_choice_it_names():
    spots, (q, k, v, _) = random_spots(SHAPES[0], 0), random_features(SHAPES[0], 0)
    platform = jax.default_backend()
    name = choose_for_spots(platform, num_keys=99, windows=5, window=5)
    chosen = jax.jit(lambda q: attend(name, q, k, v, spots))(q)
    np.testing.assert_array_equal(jax.jit(lambda q: attend(None, q, k, v, spots))(q), chosen)
