"""The general operator on a GPU: each query gathers the keys of its list, in Pallas (Triton).

One program is one row, a query or a key, and one head. It walks the row's partners a chunk at a
time. Queries walk their keys, with a running softmax whose log-sum-exp is kept for the way back;
gradients of k and v come from keys that walk their queries: no atomics, so the result is the same
every time. Everything is computed in float32. A bias is a number a pair, added to its score: the
logarithm of its weight. Its gradient is written where the query's walk meets the pair.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Float

from pallas_kernels.arrays import Array
from pallas_kernels.sparse_attention.pairs import NOTHING, Lists, Pairs, Segments
from pallas_kernels.sparse_attention.pallas_triton import (
    call,
    chunk_of,
    load_number,
    load_numbers,
    load_places,
    load_row,
    load_rows,
    padded_channels,
    partners,
    store_number,
    store_places,
    store_row,
    walk,
)


def lists_forward(
    q: Float[Array, "nq h d"],
    k: Float[Array, "nk h d"],
    v: Float[Array, "nk h d"],
    pairs: Lists | Pairs,
    bias: Float[Array, "..."] | None = None,
) -> tuple[Float[Array, "nq h d"], Float[Array, "nq h"]]:
    """Returns out and the log-sum-exps of the scores; NOTHING for an empty list."""
    nq, h, d = q.shape
    q, k, v = padded_channels(q, k, v)
    segments = pairs.by_query(numbered=bias is not None)
    out, lse = call(
        functools.partial(_forward_kernel, scale=d**-0.5, chunk=chunk_of(q)),
        (nq, h),
        [jax.ShapeDtypeStruct(q.shape, q.dtype), jax.ShapeDtypeStruct((nq, h), jnp.float32)],
        *(segments.first, segments.partner, *_in_places(segments, bias), q, k, v),
        name="lists_forward",
    )
    return out[..., :d], lse


def _in_places(segments: Segments, bias) -> list[Float[Array, " l"]]:
    """The bias in the order in which a kernel walks the pairs; nothing for None."""
    return [] if bias is None else [segments.ordered(bias.reshape(-1).astype(jnp.float32))]


def lists_backward(q, k, v, out, lse, g, pairs: Lists | Pairs):
    """Returns dq, dk, dv for the cotangent g of out."""
    return _backward(q, k, v, out, lse, g, pairs, None)[:3]


def biased_lists_backward(q, k, v, out, lse, g, pairs: Lists | Pairs, bias: Float[Array, "..."]):
    """Returns dq, dk, dv, dbias for the cotangent g of out."""
    dq, dk, dv, slope, segments = _backward(q, k, v, out, lse, g, pairs, bias)
    slope = segments.as_given(slope.sum(axis=1))
    return dq, dk, dv, slope.reshape(bias.shape).astype(bias.dtype)


def _backward(q, k, v, out, lse, g, pairs: Lists | Pairs, bias):
    """dq, dk, dv; with a bias also its gradient by places and heads, and the queries' segments."""
    (nq, h, d), nk = q.shape, k.shape[0]
    numbered = bias is not None
    delta = jnp.sum(out.astype(jnp.float32) * g.astype(jnp.float32), axis=-1)  # [nq h]
    q, k, v, g = padded_channels(q, k, v, g)
    knobs = {"scale": d**-0.5, "chunk": chunk_of(q)}
    shared = q, k, v, g, lse, delta
    segments = pairs.by_query(numbered=numbered)
    slopes = [jax.ShapeDtypeStruct((len(segments.partner), h), jnp.float32)] if numbered else []
    dq, *slope = call(
        functools.partial(_dq_kernel, **knobs),
        (nq, h),
        [jax.ShapeDtypeStruct(q.shape, q.dtype), *slopes],
        *(segments.first, segments.partner, *_in_places(segments, bias), *shared),
        name="lists_dq",
    )
    of_keys = pairs.by_key(numbered=numbered)
    dk, dv = call(
        functools.partial(_dkv_kernel, **knobs),
        (nk, h),
        [jax.ShapeDtypeStruct(k.shape, k.dtype)] * 2,
        *(of_keys.first, of_keys.partner, *_in_places(of_keys, bias), *shared),
        name="lists_dkv",
    )
    return dq[..., :d], dk[..., :d], dv[..., :d], *slope, segments


def _forward_kernel(first_ref, partner_ref, *refs, scale, chunk):
    *bias_ref, q_ref, k_ref, v_ref, out_ref, lse_ref = refs
    query, head = pl.program_id(0), pl.program_id(1)
    q = load_row(q_ref, query, head) * scale  # [1 d]

    def step(place, carry):
        top, total, value = carry
        key, listed = partners(partner_ref, place, k_ref.shape[0])  # [c]
        k = load_rows(k_ref, key, head, listed)  # [c d]
        score = jnp.where(listed, _score(q, k, place, *bias_ref), NOTHING)
        new_top = jnp.maximum(top, jnp.max(score))
        weight = jnp.where(listed, jnp.exp(jnp.minimum(score - new_top, 0.0)), 0.0)
        v = load_rows(v_ref, key, head, listed)
        shrink = jnp.exp(top - new_top)
        total = total * shrink + jnp.sum(weight)
        value = value * shrink + jnp.sum(weight[:, None] * v, axis=0, keepdims=True)
        return new_top, total, value

    start = jnp.float32(NOTHING), jnp.float32(0), jnp.zeros(q.shape, jnp.float32)
    top, total, value = walk(first_ref, query, chunk, step, start)
    some = total > 0
    total = jnp.where(some, total, 1.0)
    store_row(out_ref, query, head, value / total)
    store_number(lse_ref, query, head, jnp.where(some, top + jnp.log(total), NOTHING))


def _score(q, k, place, bias_ref=None):
    """What a row and its partners have in common; with their biases, if any."""
    score = jnp.sum(q * k, axis=1)
    return score if bias_ref is None else score + load_places(bias_ref, place)


def _weight(score, lse, listed):
    """exp(score - lse) where listed: at most 1, also where a large score is rounded differently
    from the one that lse was made of."""
    return jnp.exp(jnp.where(listed, jnp.minimum(score - lse, 0.0), NOTHING))


def _dq_kernel(first_ref, partner_ref, *refs, scale, chunk):
    biased = len(refs) > 7  # a bias before the features, and its slopes after the results
    bias_ref, slope_ref = (refs[:1], refs[-1:]) if biased else ((), ())
    q_ref, k_ref, v_ref, g_ref, lse_ref, delta_ref, dq_ref = refs[1:-1] if biased else refs
    query, head = pl.program_id(0), pl.program_id(1)
    q = load_row(q_ref, query, head) * scale
    g = load_row(g_ref, query, head)
    lse = load_number(lse_ref, query, head)
    delta = load_number(delta_ref, query, head)

    def step(place, dq):
        key, listed = partners(partner_ref, place, k_ref.shape[0])
        k = load_rows(k_ref, key, head, listed)
        v = load_rows(v_ref, key, head, listed)
        weight = _weight(_score(q, k, place, *bias_ref), lse, listed)
        slope = weight * (jnp.sum(g * v, axis=1) - delta)
        for ref in slope_ref:
            store_places(ref, place, head, slope)
        return dq + jnp.sum(slope[:, None] * k, axis=0, keepdims=True)

    dq = walk(first_ref, query, chunk, step, jnp.zeros(q.shape, jnp.float32))
    store_row(dq_ref, query, head, dq * scale)


def _dkv_kernel(first_ref, partner_ref, *refs, scale, chunk):
    *bias_ref, q_ref, k_ref, v_ref, g_ref, lse_ref, delta_ref, dk_ref, dv_ref = refs
    key, head = pl.program_id(0), pl.program_id(1)
    k = load_row(k_ref, key, head) * scale
    v = load_row(v_ref, key, head)

    def step(place, carry):
        dk, dv = carry
        query, listed = partners(partner_ref, place, q_ref.shape[0])
        q = load_rows(q_ref, query, head, listed)
        g = load_rows(g_ref, query, head, listed)
        lse = load_numbers(lse_ref, query, head, listed)
        delta = load_numbers(delta_ref, query, head, listed)
        weight = _weight(_score(q, k, place, *bias_ref), lse, listed)
        slope = weight * (jnp.sum(g * v, axis=1) - delta)
        dk += jnp.sum(slope[:, None] * q, axis=0, keepdims=True)
        dv += jnp.sum(weight[:, None] * g, axis=0, keepdims=True)
        return dk, dv

    dk, dv = walk(
        first_ref,
        key,
        chunk,
        step,
        (jnp.zeros(k.shape, jnp.float32), jnp.zeros(k.shape, jnp.float32)),
    )
    store_row(dk_ref, key, head, dk * scale)
    store_row(dv_ref, key, head, dv)
