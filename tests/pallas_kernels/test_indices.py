"""attend and dual_softmax on every kind of index, against dense references in float64."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import assert_close, dense_dual_gradients, dense_log_prob, seen_by_spots

from pallas_kernels.sparse_attention import (
    Both,
    Index,
    Lists,
    PaddedIndex,
    Pairs,
    Spans,
    Spots,
    attend,
    dual_softmax,
)

GRID0, GRID1, HEADS, CHANNELS = (3, 4), (4, 5), 2, 4
NQ, NK, S = 12, 20, 6
PADDED, PAIRED = ("segment_sum", "gather", "dense", "pallas_lists"), ("segment_sum", "pallas_lists")


def make_features(seed=0):
    """q, k, v, and a cotangent of the result."""
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(rng.normal(size=(n, HEADS, CHANNELS)), jnp.float32) for n in SIZES)


SIZES = NQ, NK, NK, NQ


def make_lists(seed=0):
    """Weighted lists with empty slots, an empty row, and weights of 0."""
    rng = np.random.default_rng(seed)
    cells = np.stack([rng.permutation(NK)[:S] for _ in range(NQ)]).astype(np.int32)
    cells[rng.random(cells.shape) < 0.3] = -1
    cells[3] = -1
    weights = rng.uniform(0.1, 3.0, cells.shape).astype(np.float32)
    weights[rng.random(cells.shape) < 0.1] = 0
    return Lists(jnp.asarray(cells), NK, jnp.asarray(weights))


def make_pairs(seed=0):
    """The same pairs in a random order, padding among them."""
    lists, rng = make_lists(seed), np.random.default_rng(seed)
    order = rng.permutation(NQ * S)
    pairs = jax.tree.map(np.asarray, lists.pairs())
    columns = (x[order] for x in (pairs.m_q, pairs.m_k, pairs.weights))
    m_q, m_k, weights = map(jnp.asarray, columns)
    return Pairs(m_q, m_k, NQ, NK, weights)


def make_spans(samples, seed=0):
    """Spans at the border, beyond it, of no size, without a centre; some cells are masked."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-0.5, 4.5, (NQ, 2))
    halves = rng.uniform(0.2, 2.3, (NQ, 2))
    centres[3] = np.nan
    centres[4], halves[4] = (-40.0, 2.2), (1.3, 1.4)
    halves[5] = 0.0
    masks = (jnp.asarray(rng.random(n) > 0.15) for n in (NQ, NK))
    given = (jnp.asarray(x, jnp.float32) for x in (centres, halves))
    return Spans(*given, *masks, GRID0, GRID1, samples=samples, reach=2)


MAKERS = {
    "lists": make_lists,
    "pairs": make_pairs,
    "cells": functools.partial(make_spans, None),
    "samples": functools.partial(make_spans, 3),
    "one sample": functools.partial(make_spans, 1),
    "many samples": functools.partial(make_spans, 6),
}


def span_weights(centres, halves, spans):
    """The weight of every pair [n m], by plain loops over queries, cells and samples."""
    found = np.zeros((NQ, NK))
    for i, j in np.ndindex(found.shape):
        (y, x), (c, r) = divmod(j, GRID1[1]), (centres[i], halves[i])
        if not (spans.valid0[i] and spans.valid1[j]) or np.isnan(c).any():
            continue
        if spans.samples is None:
            r = np.minimum(r, spans.reach)
            found[i, j] = abs(x - c[0]) <= r[0] and abs(y - c[1]) <= r[1]
            continue
        steps = np.linspace(-1, 1, spans.samples) if spans.samples > 1 else [0.0]
        for a in steps:
            for b in steps:
                hat = 1 - abs(c[0] + r[0] * a - x), 1 - abs(c[1] + r[1] * b - y)
                found[i, j] += max(hat[0], 0) * max(hat[1], 0)
    return found


def weights_of(index):
    """The weight of every pair [n m], in float64."""
    if isinstance(index, Spans):
        return span_weights(*(np.asarray(x, float) for x in (index.centres, index.halves)), index)
    pairs, found = jax.jit(lambda index: index.pairs())(index), np.zeros((NQ, NK))
    weights = np.ones(len(pairs.m_q)) if pairs.weights is None else pairs.weights
    for i, j, w in zip(pairs.m_q, pairs.m_k, weights, strict=True):
        found[i, j] += w if j >= 0 and i >= 0 else 0.0
    return found


def weighted_reference(q, k, v, weights, g):
    """Output, the gradients of q, k, v and of the weights [n m], one query and head at a time."""
    q, k, v, g = (np.asarray(x, np.float64) for x in (q, k, v, g))
    scale, out = q.shape[-1] ** -0.5, np.zeros_like(q)
    dq, dk, dv, dw = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v), np.zeros_like(weights)
    for i, h in np.ndindex(q.shape[:2]):
        j = np.flatnonzero(weights[i] > 0)
        e = np.exp(k[j, h] @ q[i, h] * scale)
        total = (weights[i, j] * e).sum() if len(j) else 1.0
        p = weights[i, j] * e / total
        out[i, h] = p @ v[j, h]
        along = (v[j, h] - out[i, h]) @ g[i, h]
        dq[i, h] = (p * along * scale) @ k[j, h]
        dk[j, h] += np.outer(p * along * scale, q[i, h])
        dv[j, h] += np.outer(p, g[i, h])
        dw[i, j] += e / total * along
    return out, (dq, dk, dv), dw


def floating(index):
    """The index as a function of the numbers that have a gradient, and these."""
    names = ("centres", "halves") if isinstance(index, Spans) else ("weights",)
    numbers = tuple(getattr(index, name) for name in names)
    return lambda *x: dataclasses.replace(index, **dict(zip(names, x, strict=True))), numbers


@functools.partial(jax.jit, static_argnums=0)
def run(implementation, q, k, v, g, index):
    """Output, and the gradients of q, k, v and of the index's numbers."""
    rebuilt, numbers = floating(index)
    out, pull = jax.vjp(
        lambda q, k, v, *x: attend(q, k, v, rebuilt(*x), implementation=implementation),
        *(q, k, v, *numbers),
    )
    return out, pull(g)


CASES = [("lists", name) for name in PADDED] + [("pairs", name) for name in PAIRED]
CASES += [("cells", "gather"), ("samples", "segment_sum")]
CASES += [("samples", "pallas_lists"), ("many samples", "dense")]


@pytest.mark.parametrize(("kind", "implementation"), CASES, ids=str)
def test_every_index_agrees_with_the_dense_reference(kind, implementation):
    index, (q, k, v, g) = MAKERS[kind](), make_features()
    weights = weights_of(index)
    out, found = run(implementation, q, k, v, g, index)
    expected, gradients, _ = weighted_reference(q, k, v, weights, g)
    assert_close((out, found[:3]), (expected, gradients))
    assert (weights > 0).any(axis=1).sum() >= 7  # there is something to see


@pytest.mark.parametrize("implementation", PADDED)
def test_weights_of_lists_have_the_gradient_of_the_reference(implementation):
    index, (q, k, v, g) = make_lists(), make_features()
    *_, dw = weighted_reference(q, k, v, weights_of(index), g)
    found = run(implementation, q, k, v, g, index)[1][3]
    cells, used = np.asarray(index.cells), (index.cells >= 0) & (index.weights > 0)
    expected = np.where(used, np.take_along_axis(dw, np.maximum(cells, 0), axis=1), 0.0)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("implementation", PAIRED)
def test_weights_of_pairs_have_the_gradient_of_the_reference(implementation):
    index, (q, k, v, g) = make_pairs(), make_features()
    *_, dw = weighted_reference(q, k, v, weights_of(index), g)
    found = run(implementation, q, k, v, g, index)[1][3]
    used = (index.m_q >= 0) & (index.weights > 0)
    np.testing.assert_allclose(found, np.where(used, dw[index.m_q, index.m_k], 0.0), atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "implementation"), [("samples", "segment_sum"), ("samples", "pallas_lists")]
)
def test_centres_and_sizes_have_the_gradient_of_the_bilinear_weights(kind, implementation):
    index, (q, k, v, g) = MAKERS[kind](), make_features()
    *_, dw = weighted_reference(q, k, v, weights_of(index), g)
    numbers = [np.asarray(x, float) for x in (index.centres, index.halves)]
    step, expected = 1e-6, [np.zeros((NQ, 2)), np.zeros((NQ, 2))]
    for number, axis in np.ndindex(2, 2):
        ahead, back = ([x.copy() for x in numbers] for _ in range(2))
        ahead[number][:, axis] += step
        back[number][:, axis] -= step
        slope = (span_weights(*ahead, index) - span_weights(*back, index)) / (2 * step)
        expected[number][:, axis] = (dw * slope).sum(axis=1)
    found = run(implementation, q, k, v, g, index)[1][3:]
    halves = np.asarray(index.halves)[:, 0] > 0  # of no size, a span grows to both sides alike
    for a, e in zip(found, expected, strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_allclose(np.asarray(a)[halves], e[halves], atol=1e-3)
    assert np.abs(expected[0]).max() > 0.1


def test_cells_of_a_span_have_no_gradient_to_its_place():
    index, (q, k, v, g) = make_spans(None), make_features()
    _, (*_, centres, halves) = run("gather", q, k, v, g, index)
    np.testing.assert_array_equal(centres, 0)
    np.testing.assert_array_equal(halves, 0)


@pytest.mark.parametrize("kind", MAKERS)
def test_an_index_holds_what_it_weighs(kind):
    index = MAKERS[kind]()
    query, key = np.divmod(np.arange(NQ * NK), NK)
    held = jax.jit(lambda index: index.holds(query, key))(index).reshape(NQ, NK)
    weights = weights_of(index)
    if kind in ("lists", "pairs"):  # they hold pairs of weight 0 too
        assert held[weights > 0].all()
        unweighted = dataclasses.replace(index, weights=None)
        weights = weights_of(unweighted)
    np.testing.assert_array_equal(held, weights > 0)


@pytest.mark.parametrize("kind", MAKERS)
def test_every_kind_follows_the_protocol(kind):
    index = MAKERS[kind]()
    assert isinstance(index, Index)
    assert isinstance(index, PaddedIndex) == (kind != "pairs")


@pytest.mark.parametrize("kind", ["many samples"])
def test_a_span_lists_every_key_once(kind):
    cells = np.asarray(jax.jit(lambda index: index.lists().cells)(MAKERS[kind]()))
    for row in cells:
        kept = row[row >= 0]
        assert len(set(kept.tolist())) == len(kept)


def make_spots():
    rng = np.random.default_rng(1)
    centres = rng.integers(-1, NK, (NQ, 2)).astype(np.int32)
    masks = jnp.ones(NQ, bool), jnp.ones(NK, bool)
    return Spots(jnp.asarray(centres), *masks, GRID0, GRID1, 3)


def test_both_rules_together_see_what_either_sees_and_each_key_once():
    spots, spans = make_spots(), make_spans(None)
    both, (q, k, v, g) = Both(spots, spans), make_features()
    seen = seen_by_spots(spots) | (weights_of(spans) > 0)
    np.testing.assert_array_equal(weights_of(both), seen)
    query, key = np.divmod(np.arange(NQ * NK), NK)
    held = jax.jit(lambda both: both.holds(query, key))(both).reshape(NQ, NK)
    np.testing.assert_array_equal(held, seen)
    out = jax.jit(lambda *x: attend(*x, implementation="dense"))(q, k, v, both)
    expected, _, _ = weighted_reference(q, k, v, seen.astype(float), g)
    np.testing.assert_allclose(out, expected, atol=1e-5)


def unweighted(kind):
    index = MAKERS[kind]()
    return dataclasses.replace(index, weights=None) if kind in ("lists", "pairs") else index


@functools.partial(jax.jit, static_argnums=0)
def matrix_numbers(implementation, f0, f1, index, cotangents):
    def numbers(f0, f1):
        p = dual_softmax(f0, f1, index, scale=0.3, implementation=implementation)
        i, j = jnp.divmod(jnp.arange(NQ * NK), NK)
        log_prob, _ = p.log_prob_at(i, j)
        return (log_prob.reshape(NQ, NK), p.lse0, p.lse1), (p.best, p.best_log_prob)

    found, pull, best = jax.vjp(numbers, f0, f1, has_aux=True)
    return found, pull(cotangents), best


@pytest.mark.parametrize(
    ("kind", "implementation"),
    [("pairs", "gather"), ("pairs", "pallas_lists"), ("cells", "gather")],
    ids=str,
)
def test_the_matching_matrix_on_every_index_agrees_with_the_dense_one(kind, implementation):
    rng, index = np.random.default_rng(3), unweighted(kind)
    f0, f1 = (jnp.asarray(rng.normal(size=(n, 5)), jnp.float32) for n in (NQ, NK))
    g = [rng.normal(size=shape).astype(np.float32) for shape in ((NQ, NK), (NQ,), (NK,))]
    seen = weights_of(index) > 0
    found, gradients, (best, best_log_prob) = matrix_numbers(
        implementation, f0, f1, index, tuple(map(jnp.asarray, g))
    )
    expected = dense_log_prob(f0, f1, seen, 0.3)
    for a, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5)
    some = seen.any(axis=1)
    np.testing.assert_array_equal(best, np.where(some, expected[0].argmax(axis=1), -1))
    np.testing.assert_allclose(best_log_prob, expected[0].max(axis=1), rtol=1e-5)
    assert_close((found[1], gradients), (expected[1], dense_dual_gradients(f0, f1, seen, 0.3, *g)))


LISTS, SPANS = make_lists(), make_spans(2)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (dataclasses.replace(LISTS, num_keys=7), "num_keys must be .* 20; got 7"),
        (dataclasses.replace(LISTS, weights=-LISTS.weights), "weights must not be negative"),
        (dataclasses.replace(LISTS, weights=LISTS.weights[:3]), r"one for each of \(12, 6\)"),
        (dataclasses.replace(make_pairs(), num_queries=5), "num_queries must be .* 12; got 5"),
        (dataclasses.replace(SPANS, centres=SPANS.centres[:4]), r"centres must be .* 12 queries"),
        (dataclasses.replace(SPANS, halves=SPANS.halves - 9), "halves must not be negative"),
        (dataclasses.replace(SPANS, grid1=(5, 5)), r"grid1 must be \(h, w\)"),
        (dataclasses.replace(SPANS, samples=0), "samples must be positive"),
        (dataclasses.replace(SPANS, reach=-1), "reach must not be negative"),
        (Both(SPANS, make_spots()), "takes indices without weights"),
    ],
)
def test_a_bad_index_is_named_at_the_door(index, message):
    q, k, v, _ = make_features()
    with pytest.raises(ValueError, match=message):
        attend(q, k, v, index)


SHAPES = (NQ, 3), (NK, 3)


def test_a_matrix_of_weights_is_refused():
    with pytest.raises(ValueError, match="P holds a pair or not"):
        jax.eval_shape(
            lambda f0, f1: dual_softmax(f0, f1, SPANS, scale=1.0), *map(jnp.ones, SHAPES)
        )
