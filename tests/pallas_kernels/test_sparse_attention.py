"""The sparse attention operator: every implementation against dense attention in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references import ON_LISTS, assert_close, dense_reference

from pallas_kernels.sparse_attention import (
    choose_implementation,
    sparse_attention,
    sparse_attention_pairs,
)

EVERY = pytest.mark.parametrize("implementation", ON_LISTS)


def make_inputs(nq=45, nk=37, s=9, h=2, d=8, dtype=jnp.float32, seed=0):
    """Random q, k, v, g and lists of 0 to s distinct keys in random slots; row 3 is empty."""
    rng = np.random.default_rng(seed)
    q, k, v, g = (jnp.asarray(rng.normal(size=(n, h, d)), dtype) for n in (nq, nk, nk, nq))
    cells = np.stack([rng.permutation(max(nk, s))[:s] for _ in range(nq)])
    cells[(rng.random((nq, s)) < 0.4) | (cells >= nk)] = -1
    cells[3 % nq] = -1
    return q, k, v, g, cells.astype(np.int32)


@functools.partial(jax.jit, static_argnums=0)
def run(implementation, q, k, v, g, cells):
    """Output and gradients of one implementation; one compilation per shape."""
    attend = functools.partial(sparse_attention, implementation=implementation)
    out, pull = jax.vjp(lambda *x: attend(*x, cells), q, k, v)
    return out, pull(g)


@functools.partial(jax.jit, static_argnums=0)
def run_pairs(implementation, q, k, v, g, m_q, m_k):
    """The same for pairs in any order."""
    attend = functools.partial(sparse_attention_pairs, implementation=implementation)
    out, pull = jax.vjp(lambda *x: attend(*x, m_q, m_k), q, k, v)
    return out, pull(g)


@EVERY
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"nq": 64, "nk": 12, "s": 12},  # as many slots as keys
        {"nq": 5, "nk": 3, "s": 7, "h": 1, "d": 1},  # more slots than keys, less than a tile
    ],
    ids=str,
)
@settings(deadline=None, max_examples=6, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_agrees_with_the_dense_reference(implementation, shape, seed):
    inputs = make_inputs(**shape, seed=seed)
    q, k, v, g, cells = inputs
    assert_close(run(implementation, *inputs), dense_reference(q, k, v, cells, g))


@EVERY
def test_all_pairs_give_plain_attention(implementation):
    q, k, v, g, _ = make_inputs(nq=64, nk=12, s=12)
    cells = np.tile(np.arange(12, dtype=np.int32), (64, 1))
    einsum = functools.partial(jnp.einsum, precision="highest")
    weight = jax.nn.softmax(einsum("nhd,mhd->nhm", q, k) * 8**-0.5, axis=-1)
    out, _ = run(implementation, q, k, v, g, cells)
    np.testing.assert_allclose(out, einsum("nhm,mhd->nhd", weight, v), atol=1e-5)


@EVERY
def test_one_key_gives_its_value_and_takes_the_whole_gradient(implementation):
    q, k, v, g, cells = make_inputs()
    cells[:] = -1
    cells[:, 1] = 4
    out, (dq, dk, dv) = run(implementation, q, k, v, g, cells)
    np.testing.assert_allclose(out, np.broadcast_to(v[4], out.shape), atol=1e-6)
    np.testing.assert_allclose(dv[4], np.asarray(g).sum(axis=0), atol=1e-5)
    np.testing.assert_allclose(dq, 0, atol=1e-5)
    np.testing.assert_allclose(dk, 0, atol=1e-5)
    np.testing.assert_array_equal(dv[:4], 0)


@EVERY
@pytest.mark.parametrize("rows", ["one", "all"])
def test_an_empty_list_gives_zero_and_zero_gradients(implementation, rows):
    q, k, v, g, cells = make_inputs()
    empty = np.arange(45) == 0 if rows == "one" else np.ones(45, bool)
    cells[empty] = -1
    out, (dq, dk, dv) = run(implementation, q, k, v, g, cells)
    np.testing.assert_array_equal(np.asarray(out)[empty], 0)
    np.testing.assert_array_equal(np.asarray(dq)[empty], 0)
    assert all(np.isfinite(x).all() for x in (out, dq, dk, dv))
    if rows == "all":
        np.testing.assert_array_equal(dk, 0)
        np.testing.assert_array_equal(dv, 0)


@EVERY
def test_huge_logits_of_keys_outside_the_list_do_no_harm(implementation):
    # Key 0 would overflow exp for every query; slots that are empty read key 0.
    q, k, v, g, cells = make_inputs()
    q, k = jnp.abs(q), k.at[0].set(1e4)
    cells[cells == 0] = -1
    expected = dense_reference(q, k, v, cells, g)
    assert_close(run(implementation, q, k, v, g, cells), expected)


@EVERY
def test_large_logits_inside_the_list_stay_finite(implementation):
    q, k, v, g, cells = make_inputs()
    out, grads = run(implementation, 100 * q, 100 * k, v, g, cells)
    assert all(np.isfinite(x).all() for x in (out, *grads))
    assert np.abs(out).max() <= np.abs(v).max() * (1 + 1e-6)  # an average of values


@EVERY
def test_bfloat16_in_gives_bfloat16_out_within_its_precision(implementation):
    q, k, v, g, cells = make_inputs(dtype=jnp.bfloat16)
    out, grads = run(implementation, q, k, v, g, cells)
    assert {x.dtype for x in (out, *grads)} == {jnp.dtype(jnp.bfloat16)}
    expected = dense_reference(q, k, v, cells, g)
    assert_close((out, grads), expected, value_tol=2e-2, grad_tol=2e-2)


@pytest.mark.parametrize("implementation", ["segment_sum", "gather", "dense"])
def test_gradients_of_a_bfloat16_key_that_all_queries_see_are_summed_in_float32(implementation):
    q, k, v, g, cells = make_inputs(nq=600, dtype=jnp.bfloat16)
    cells[:, 0] = 36
    cells[:, 1:] = np.where(cells[:, 1:] == 36, -1, cells[:, 1:])
    expected = dense_reference(q, k, v, cells, g)
    actual = run(implementation, q, k, v, g, cells)
    assert_close(actual, expected, value_tol=5e-3, grad_tol=5e-3)


@EVERY
def test_vmap_treats_each_problem_alone(implementation):
    problems = [make_inputs(seed=seed) for seed in range(3)]
    batch = [jnp.stack(x) for x in zip(*problems, strict=True)]
    batched = jax.vmap(functools.partial(run, implementation))(*batch)
    for b, (q, k, v, g, cells) in enumerate(problems):
        actual = jax.tree.map(lambda x, b=b: x[b], batched)
        assert_close(actual, dense_reference(q, k, v, cells, g))


@pytest.mark.parametrize("implementation", ["gather", "dense"])
def test_tiles_keep_the_memory_of_640x480_cells_under_64_megabytes(implementation):
    features = jax.ShapeDtypeStruct((2, 4800, 2, 32), jnp.float32)  # a batch of two
    cells = jax.ShapeDtypeStruct((2, 4800, 125), jnp.int32)
    batched = jax.jit(jax.vmap(functools.partial(run, implementation)))
    compiled = batched.lower(*(features,) * 4, cells).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 64e6


def test_vmap_over_the_lists_alone_sums_the_gradients_of_the_shared_rest():
    q, k, v, g, cells = make_inputs()
    lists = jnp.stack([cells, make_inputs(seed=1)[-1]])
    names = "segment_sum", "gather", "pallas_lists"

    def loss(k, cells, name):
        return jnp.sum(sparse_attention(q, k, v, cells, implementation=name) * g)

    def total(k, name):
        return jnp.sum(jax.vmap(lambda c: loss(k, c, name))(lists))

    defined, *others = (jax.jit(jax.grad(total), static_argnums=1)(k, name) for name in names)
    for other in others:
        np.testing.assert_allclose(other, defined, atol=1e-5)


@EVERY
def test_checkpoint_changes_no_gradient(implementation):
    q, k, v, g, cells = make_inputs()

    def loss(q):
        return jnp.sum(sparse_attention(q, k, v, cells, implementation=implementation) * g)

    again = jax.jit(jax.grad(jax.checkpoint(loss)))(q)
    np.testing.assert_allclose(again, run(implementation, q, k, v, g, cells)[1][0], atol=1e-5)


@EVERY
def test_two_runs_give_the_same_bits(implementation):
    inputs = make_inputs()
    once, again = (run(implementation, *inputs) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, once, again)


@EVERY
def test_the_order_of_the_slots_does_not_matter(implementation):
    q, k, v, g, cells = make_inputs()
    shuffled = np.random.default_rng(1).permuted(cells, axis=1)
    assert_close(run(implementation, q, k, v, g, shuffled), dense_reference(q, k, v, cells, g))


@pytest.mark.parametrize("implementation", ["segment_sum", "pallas_lists"])
@settings(deadline=None, max_examples=6, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_pairs_in_any_order_agree_with_the_dense_reference(implementation, seed):
    q, k, v, g, cells = make_inputs(seed=seed)
    m_q, m_k = np.broadcast_to(np.arange(45)[:, None], cells.shape).ravel(), cells.ravel()
    order = np.random.default_rng(seed).permutation(m_q.size)
    m_q, m_k = np.where(m_k < 0, -1, m_q)[order], m_k[order]
    actual = run_pairs(implementation, q, k, v, g, m_q, m_k)
    assert_close(actual, dense_reference(q, k, v, cells, g))


def test_pairs_of_nothing_give_zero():
    q, k, v, _, cells = make_inputs()
    none = np.zeros((0,), np.int32)
    np.testing.assert_array_equal(sparse_attention_pairs(q, k, v, none, none), jnp.zeros_like(q))
    np.testing.assert_array_equal(sparse_attention(q, k, v, cells[:, :0]), jnp.zeros_like(q))
    assert sparse_attention(q[:0], k, v, cells[:0]).shape == (0, 2, 8)


def test_none_equals_the_choice_it_names():
    q, k, v, _, cells = make_inputs()
    name = choose_implementation(jax.default_backend(), num_keys=37, slots=9)
    chosen = sparse_attention(q, k, v, cells, implementation=name)
    np.testing.assert_array_equal(sparse_attention(q, k, v, cells), chosen)


@pytest.mark.parametrize("shape", [{"nq": 150, "d": 64}, {"nq": 40, "nk": 200, "s": 150, "d": 128}])
def test_long_lists_many_queries_a_key_and_wide_heads_are_walked_in_chunks(shape):
    q, k, v, g, cells = make_inputs(**shape)
    cells[4:, 0] = np.where((cells[4:] == 0).any(axis=1), cells[4:, 0], 0)  # all see key 0
    expected = dense_reference(q, k, v, cells, g)
    assert_close(run("pallas_lists", q, k, v, g, cells), expected)


@pytest.mark.parametrize("implementation", ["segment_sum", "gather", "dense", "pallas_lists"])
def test_short_integers_are_as_good_as_long_ones(implementation):
    q, k, v, g, cells = make_inputs()
    short = run(implementation, q, k, v, g, cells.astype(np.int8))
    jax.tree.map(np.testing.assert_array_equal, short, run(implementation, q, k, v, g, cells))


def test_a_key_out_of_range_inside_jit_is_left_out_by_the_kernel():
    q, k, v, g, cells = make_inputs()
    beyond = np.where(cells < 0, 10**6, cells)
    found = run("pallas_lists", q, k, v, g, beyond.astype(np.int32))
    jax.tree.map(np.testing.assert_array_equal, found[0], run("pallas_lists", q, k, v, g, cells)[0])
