"""The dual softmax over listed pairs on a GPU, in Pallas (Triton): rows that walk their partners.

Queries over their keys and keys over their queries are the same problem, so each kernel serves
both: a is the side of the rows, b that of their partners. Everything is float32.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Float, Int

from pallas_kernels.arrays import Array
from pallas_kernels.sparse_attention.pairs import NOTHING, Lists, Pairs, Segments
from pallas_kernels.sparse_attention.pallas_triton import (
    call,
    chunk_of,
    load_number,
    load_numbers,
    load_row,
    load_rows,
    padded_channels,
    partners,
    store_number,
    store_row,
    walk,
)

_LARGEST = 2**31 - 1


def lists_log_sum_exps(
    f0: Float[Array, "n c"], f1: Float[Array, "m c"], pairs: Lists | Pairs
) -> tuple[Float[Array, " n"], Float[Array, " m"]]:
    """Over the keys of each query, and over the queries of each key; NOTHING without any."""
    return _log_sum_exps(f0, f1, pairs.by_query()), _log_sum_exps(f1, f0, pairs.by_key())


def lists_slopes(f0, f1, lse0, lse1, g0, g1, pairs: Lists | Pairs):
    """The gradients of f0 and f1 for cotangents g0, g1 of the log-sum-exps."""
    side0, side1 = (f0, lse0, g0), (f1, lse1, g1)
    return _slopes(side0, side1, pairs.by_query()), _slopes(side1, side0, pairs.by_key())


def lists_best(
    f0: Float[Array, "n c"], f1: Float[Array, "m c"], lse0, lse1, pairs: Lists | Pairs
) -> tuple[Int[Array, " n"], Float[Array, " n"]]:
    """The most probable key of each query, ties to the lower index, and its log P; -1, NOTHING
    without any. No gradient."""
    f0, f1 = _as_rows(f0, f1)
    segments, n = pairs.by_query(), len(f0)
    cell, log_prob = call(
        functools.partial(_best_kernel, chunk=chunk_of(f0)),
        (n,),
        [jax.ShapeDtypeStruct((n, 1), jnp.int32), jax.ShapeDtypeStruct((n, 1), jnp.float32)],
        *(segments.first, segments.partner, f0, f1, lse0[:, None], lse1[:, None]),
        name="dual_lists_best",
    )
    return cell[:, 0], log_prob[:, 0]


def _as_rows(*features: Float[Array, "_ c"]) -> list[Float[Array, "_ 1 p"]]:
    return padded_channels(*(f[:, None] for f in features))


def _log_sum_exps(a, b, segments: Segments) -> Float[Array, " r"]:
    a, b = _as_rows(a, b)
    (lse,) = call(
        functools.partial(_lse_kernel, chunk=chunk_of(a)),
        (len(a),),
        [jax.ShapeDtypeStruct((len(a), 1), jnp.float32)],
        *(segments.first, segments.partner, a, b),
        name="dual_lists_lse",
    )
    return lse[:, 0]


def _slopes(side_a, side_b, segments: Segments) -> Float[Array, "r c"]:
    """The gradient of the rows' features, by both of their log-sum-exps and their partners'."""
    a, b = _as_rows(side_a[0], side_b[0])
    (slope,) = call(
        functools.partial(_slope_kernel, chunk=chunk_of(a)),
        (len(a),),
        [jax.ShapeDtypeStruct(a.shape, jnp.float32)],
        *(segments.first, segments.partner, a, b),
        *(x[:, None] for x in (*side_a[1:], *side_b[1:])),
        name="dual_lists_slope",
    )
    return slope[:, 0, : side_a[0].shape[1]]


def _lse_kernel(first_ref, partner_ref, a_ref, b_ref, lse_ref, *, chunk):
    row = pl.program_id(0)
    a = load_row(a_ref, row, 0)

    def step(place, carry):
        top, total = carry
        partner, listed = partners(partner_ref, place, b_ref.shape[0])
        b = load_rows(b_ref, partner, 0, listed)
        score = jnp.where(listed, jnp.sum(a * b, axis=1), NOTHING)
        new_top = jnp.maximum(top, jnp.max(score))
        weight = jnp.where(listed, jnp.exp(jnp.minimum(score - new_top, 0.0)), 0.0)
        return new_top, total * jnp.exp(top - new_top) + jnp.sum(weight)

    top, total = walk(first_ref, row, chunk, step, (jnp.float32(NOTHING), jnp.float32(0)))
    some = total > 0
    lse = jnp.where(some, top + jnp.log(jnp.where(some, total, 1.0)), NOTHING)
    store_number(lse_ref, row, 0, lse)


def _slope_kernel(
    first_ref, partner_ref, a_ref, b_ref, lse_a_ref, g_a_ref, lse_b_ref, g_b_ref, out_ref, *, chunk
):
    row = pl.program_id(0)
    a = load_row(a_ref, row, 0)
    lse_a, g_a = load_number(lse_a_ref, row, 0), load_number(g_a_ref, row, 0)

    def step(place, slope):
        partner, listed = partners(partner_ref, place, b_ref.shape[0])
        b = load_rows(b_ref, partner, 0, listed)
        score = jnp.sum(a * b, axis=1)
        lse_b = load_numbers(lse_b_ref, partner, 0, listed)
        g_b = load_numbers(g_b_ref, partner, 0, listed)
        weight = g_a * jnp.exp(jnp.where(listed, jnp.minimum(score - lse_a, 0.0), NOTHING))
        weight += g_b * jnp.exp(jnp.where(listed, jnp.minimum(score - lse_b, 0.0), NOTHING))
        return slope + jnp.sum(weight[:, None] * b, axis=0, keepdims=True)

    store_row(out_ref, row, 0, walk(first_ref, row, chunk, step, jnp.zeros(a.shape, jnp.float32)))


def _best_kernel(
    first_ref, partner_ref, a_ref, b_ref, lse_a_ref, lse_b_ref, cell_ref, log_prob_ref, *, chunk
):
    row = pl.program_id(0)
    a, lse_a = load_row(a_ref, row, 0), load_number(lse_a_ref, row, 0)

    def step(place, carry):
        best, cell = carry
        partner, listed = partners(partner_ref, place, b_ref.shape[0])
        b = load_rows(b_ref, partner, 0, listed)
        lse_b = load_numbers(lse_b_ref, partner, 0, listed)
        log_prob = 2 * jnp.sum(a * b, axis=1) - lse_a - lse_b
        log_prob = jnp.where(listed, log_prob, NOTHING)
        top = jnp.max(log_prob)
        lowest = jnp.min(jnp.where(listed & (log_prob == top), partner, _LARGEST))
        tied = jnp.where(top == best, jnp.minimum(lowest, cell), cell)
        return jnp.maximum(best, top), jnp.where(top > best, lowest, tied)

    start = jnp.float32(NOTHING), jnp.int32(_LARGEST)
    best, cell = walk(first_ref, row, chunk, step, start)
    store_number(cell_ref, row, 0, jnp.where(cell < _LARGEST, cell, -1))
    store_number(log_prob_ref, row, 0, best)
