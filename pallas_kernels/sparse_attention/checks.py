"""What the operator's arguments must satisfy: shapes at the door, values on the host."""

from typing import no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import checkify
from jaxtyping import Float, Int

from pallas_kernels.arrays import Array


@no_type_check
def check_features(
    q: Float[Array, "nq h d"], k: Float[Array, "nk h d"], v: Float[Array, "nk h d"]
) -> None:
    """Raises unless q, k and v fit together in rank, shape and dtype."""
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.ndim != 3:
            hint = " Use jax.vmap for a batch." if x.ndim == 4 else ""
            raise ValueError(f"{name} must be [n heads channels], got {x.shape}.{hint}")
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(f"{name} must be floating, got {x.dtype}. Cast it first.")
    if k.shape != v.shape:
        raise ValueError(f"k and v must have one shape: {k.shape=}, {v.shape=}.")
    if q.shape[1:] != k.shape[1:]:
        raise ValueError(f"q and k must agree in heads and channels: {q.shape=}, {k.shape=}.")
    if 0 in k.shape:
        raise ValueError(f"k must have at least one key, head and channel, got {k.shape}.")
    if not q.dtype == k.dtype == v.dtype:
        raise ValueError(
            f"q, k and v must have one dtype, got {q.dtype}, {k.dtype}, {v.dtype}. Cast them first."
        )


@no_type_check
def check_integer(name: str, indices: Int[Array, "..."], rank: int) -> None:
    """Raises unless indices is a signed-integer array of this rank."""
    if indices.ndim != rank:
        form = "[queries slots]" if rank == 2 else "[pairs]"
        raise ValueError(f"{name} must be {form}, got {indices.shape}.")
    if not jnp.issubdtype(indices.dtype, jnp.signedinteger):
        raise ValueError(
            f"{name} must hold signed integers (-1 is empty), got {indices.dtype}. "
            "Cast it to int32."
        )


def check_implementation(name: str | None, known: tuple[str, ...]) -> None:
    """Raises unless the name is None or known."""
    if name is not None and name not in known:
        raise ValueError(f"implementation must be None or one of {', '.join(known)}; got {name!r}.")


@no_type_check
def check_pair_of_features(f0: Float[Array, "n c"], f1: Float[Array, "m c"]) -> None:
    """Raises unless f0 and f1 fit together."""
    for name, x in (("f0", f0), ("f1", f1)):
        if x.ndim != 2:
            hint = " Use jax.vmap for a batch." if x.ndim == 3 else ""
            raise ValueError(f"{name} must be [n channels], got {x.shape}.{hint}")
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(f"{name} must be floating, got {x.dtype}. Cast it first.")
        if 0 in x.shape:
            raise ValueError(f"{name} must have at least one row and channel, got {x.shape}.")
    if f0.shape[1] != f1.shape[1]:
        raise ValueError(f"f0 and f1 must agree in channels: {f0.shape=}, {f1.shape=}.")


@no_type_check
def check_lists(cells: Int[Array, "nq s"], num_queries: int, num_keys: int, checked: bool) -> None:
    """The door's check of padded lists: shape always, values outside jit or by checkify."""
    check_integer("cells", cells, rank=2)
    if cells.shape[0] != num_queries:
        raise ValueError(
            f"cells must have one row per query: {cells.shape=}, {num_queries} queries."
        )
    if checked:
        _checkify_range("cells", cells, num_keys)
        ordered = jnp.sort(cells, axis=1)
        twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
        checkify.check(~twice.any(), "cells must name each key at most once per query.")
    elif not isinstance(cells, jax.core.Tracer):
        check_cells(cells, num_keys)


def check_pair_lists(m_q, m_k, num_queries: int, num_keys: int, checked: bool) -> None:
    """The door's check of pairs: shape always, values outside jit or (ranges) by checkify."""
    check_integer("m_q", m_q, rank=1)
    check_integer("m_k", m_k, rank=1)
    if m_q.shape != m_k.shape:
        raise ValueError(f"m_q and m_k must have one length: {m_q.shape=}, {m_k.shape=}.")
    if checked:
        _checkify_range("m_q", m_q, num_queries)
        _checkify_range("m_k", m_k, num_keys)
    elif not any(isinstance(m, jax.core.Tracer) for m in (m_q, m_k)):
        check_pairs(m_q, m_k, num_queries, num_keys)


def check_num_keys(own: int, num_keys: int) -> None:
    """Raises unless an index is made for as many keys as there are features."""
    if own != num_keys:
        raise ValueError(f"num_keys must be that of the features, {num_keys}; got {own}.")


@no_type_check
def check_weights(weights: Float[Array, "..."], shape: tuple[int, ...], checked: bool) -> None:
    """The door's check of the weights of pairs: shape always, values outside jit or by checkify."""
    if weights.shape != shape or not jnp.issubdtype(weights.dtype, jnp.floating):
        raise ValueError(
            f"weights must be floating, one for each of {shape}; got {weights.dtype} "
            f"{weights.shape}."
        )
    _check_not_negative("weights", weights, checked)


@no_type_check
def check_spans(spans, numbers: tuple[int, int], checked: bool) -> None:
    """The door's check of spans. numbers: of queries and keys."""
    for name, x in (("centres", spans.centres), ("halves", spans.halves)):
        if x.shape != (numbers[0], 2) or not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(
                f"{name} must be floating, (x, y) of {numbers[0]} queries; got {x.dtype} {x.shape}."
            )
    grids, valid = (spans.grid0, spans.grid1), (spans.valid0, spans.valid1)
    check_grids(numbers, grids, valid)
    if spans.samples is not None and spans.samples < 1:
        raise ValueError(f"samples must be positive, or None for cells; got {spans.samples}.")
    if spans.reach < 0:
        raise ValueError(f"reach must not be negative; got {spans.reach}.")
    _check_not_negative("halves", spans.halves, checked)


def _check_not_negative(name: str, x: Float[Array, "..."], checked: bool) -> None:
    if checked:
        checkify.check((x >= 0).all(), f"{name} must not be negative.")
    elif not isinstance(x, jax.core.Tracer) and not (np.asarray(x) >= 0).all():
        at = tuple(int(i) for i in np.argwhere(~(np.asarray(x) >= 0))[0])
        raise ValueError(f"{name} must not be negative; got {np.asarray(x)[at]} at {list(at)}.")


def check_scale(scale: float) -> None:
    """Raises unless the scale of a dual softmax is positive."""
    if not scale > 0:
        raise ValueError(f"scale must be positive, got {scale}.")


def check_spots(numbers, centres, grids, window, valid, checked: bool) -> None:
    """The door's check of spots. numbers: of queries and keys."""
    check_integer("centres", centres, rank=2)
    if centres.shape[0] != numbers[0]:
        raise ValueError(
            f"centres must have one row per query: {centres.shape=}, {numbers[0]} queries."
        )
    check_grids(numbers, grids, valid)
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window must be odd, so that it has a centre, got {window}.")
    if checked:
        _checkify_range("centres", centres, numbers[1])
    elif not isinstance(centres, jax.core.Tracer):
        _check_range("centres", np.asarray(centres), numbers[1], "keys")


def check_grids(numbers, grids, valid) -> None:
    """Raises unless both grids have as many cells as there are features, and both masks too."""
    for i, (n, grid, mask) in enumerate(zip(numbers, grids, valid, strict=True)):
        if len(grid) != 2 or grid[0] * grid[1] != n:
            raise ValueError(f"grid{i} must be (h, w) with h * w = {n} cells, got {grid}.")
        if mask is not None and (mask.size != n or mask.dtype != bool):
            raise ValueError(
                f"valid{i} must be boolean with one value for each of {n} cells, "
                f"got {mask.dtype} {mask.shape}."
            )


def _checkify_range(name: str, indices: Int[Array, "..."], end: int) -> None:
    inside = (indices >= -1) & (indices < end)
    checkify.check(inside.all(), f"{name} must lie in [0, {end}), or be -1 for empty.")


@no_type_check
def check_cells(cells: Int[Array, "nq s"], num_keys: int) -> None:
    """Raises on the host if a row of cells names a key outside [-1, num_keys) or a key twice."""
    check_integer("cells", cells, rank=2)
    cells = np.asarray(cells)
    _check_range("cells", cells, num_keys, "keys")
    ordered = np.sort(cells, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if twice.any():
        row, slot = np.argwhere(twice)[0]
        raise ValueError(
            f"cells must name each key at most once per query, but row {row} has key "
            f"{ordered[row, slot + 1]} twice ({np.count_nonzero(twice.any(axis=1))} rows have "
            "duplicates). Replace the later one by -1."
        )


@no_type_check
def check_pairs(m_q: Int[Array, " l"], m_k: Int[Array, " l"], num_queries: int, num_keys: int):
    """Raises on the host if a pair is out of range, half empty, or given twice."""
    check_integer("m_q", m_q, rank=1)
    check_integer("m_k", m_k, rank=1)
    m_q, m_k = np.asarray(m_q, np.int64), np.asarray(m_k, np.int64)
    _check_range("m_q", m_q, num_queries, "queries")
    _check_range("m_k", m_k, num_keys, "keys")
    half = (m_q < 0) != (m_k < 0)
    if half.any():
        p = np.argmax(half)
        raise ValueError(
            f"m_q and m_k must both be -1 where a pair is empty, but pair {p} is "
            f"({m_q[p]}, {m_k[p]})."
        )
    ordered = np.sort((m_q * num_keys + m_k)[m_q >= 0])
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if twice.size:
        query, key = divmod(ordered[twice[0]], num_keys)
        raise ValueError(
            f"m_q, m_k must name each pair at most once, but query {query} with key {key} stands "
            f"there twice ({twice.size} duplicates). Drop the later ones."
        )


def _check_range(name: str, indices: np.ndarray, end: int, of: str) -> None:
    """Raises if an index is neither -1 nor in [0, end)."""
    outside = (indices < -1) | (indices >= end)
    if outside.any():
        at = tuple(int(i) for i in np.argwhere(outside)[0])
        raise ValueError(
            f"{name} must lie in [0, {end}), the {of}, or be -1 for empty; "
            f"got {indices[at]} at {list(at)}."
        )
