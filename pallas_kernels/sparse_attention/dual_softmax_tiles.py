"""The dual softmax over spots on a GPU, in Pallas (Triton), by pairs of tiles of 8 x 8 cells.

As in pallas_tiles, all scores of a tile of queries (axis 0) and a tile of keys (axis 1) are one
matrix product. A program has one tile of rows and walks its active partners: rows are queries, or
keys, and `along` is the axis of the partners, 1 or 0. Everything is float32.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Float, Int

from pallas_kernels.arrays import Array
from pallas_kernels.sparse_attention.pairs import NOTHING
from pallas_kernels.sparse_attention.pallas_tiles import product, seen_by, tile_product
from pallas_kernels.sparse_attention.pallas_triton import call, padded_channels
from pallas_kernels.sparse_attention.tile_lists import (
    CELLS,
    F32,
    SIDE,
    from_tiles,
    tile_grid,
    tile_index,
    to_tiles,
)
from pallas_kernels.sparse_attention.windows import Spots

LARGEST_CHANNELS = 256  # of features, so that tiles fit the shared memory
_LARGEST = 2**31 - 1


def tiles_log_sum_exps(
    f0: Float[Array, "n c"], f1: Float[Array, "m c"], spots: Spots
) -> tuple[Float[Array, " n"], Float[Array, " m"]]:
    """Over the keys of each query, and over the queries of each key; NOTHING without any."""
    features, number = _tiled(spots, f0, f1), [((), jnp.float32)]
    (lse0,) = _run(_lse_kernel, spots, 1, number, *features, name="dual_tiles_lse0")
    (lse1,) = _run(_lse_kernel, spots, 0, number, *features, name="dual_tiles_lse1")
    return from_tiles(lse0, spots.grid0), from_tiles(lse1, spots.grid1)


def tiles_slopes(f0, f1, lse0, lse1, g0, g1, spots: Spots):
    """The gradients of f0 and f1 for cotangents g0, g1 of the log-sum-exps."""
    features = _tiled(spots, f0, f1)
    numbers0 = [to_tiles(x, spots.grid0) for x in (lse0, g0)]
    numbers1 = [to_tiles(x, spots.grid1) for x in (lse1, g1)]
    arrays, row = (*features, *numbers0, *numbers1), [(features[0].shape[2:], jnp.float32)]
    (df0,) = _run(_slope_kernel, spots, 1, row, *arrays, name="dual_tiles_slope0")
    (df1,) = _run(_slope_kernel, spots, 0, row, *arrays, name="dual_tiles_slope1")
    c = f0.shape[1]
    return from_tiles(df0, spots.grid0)[:, :c], from_tiles(df1, spots.grid1)[:, :c]


def tiles_best(
    f0: Float[Array, "n c"], f1: Float[Array, "m c"], lse0, lse1, spots: Spots
) -> tuple[Int[Array, " n"], Float[Array, " n"]]:
    """The most probable key of each query, ties to the lower index, and its log P; -1, NOTHING
    without any. No gradient."""
    arrays = *_tiled(spots, f0, f1), to_tiles(lse0, spots.grid0), to_tiles(lse1, spots.grid1)
    kernel = functools.partial(_best_kernel, grid1=spots.grid1)
    numbers = [((), jnp.int32), ((), jnp.float32)]
    cell, log_prob = _run(kernel, spots, 1, numbers, *arrays, name="dual_tiles_best")
    return from_tiles(cell, spots.grid0), from_tiles(log_prob, spots.grid0)


def _tiled(spots: Spots, f0, f1) -> tuple[Float[Array, "t0 64 p"], Float[Array, "t1 64 p"]]:
    # Hidden features are multiplied by weights of 0: they must not be NaN.
    f0, f1 = jnp.where(spots.valid0[:, None], f0, 0), jnp.where(spots.valid1[:, None], f1, 0)
    f0, f1 = padded_channels(f0, f1)
    return to_tiles(f0, spots.grid0), to_tiles(f1, spots.grid1)


def _run(kernel, spots: Spots, along: int, out: list, *arrays, name: str) -> tuple:
    """Runs a kernel over the tiles of queries (along = 1) or of keys (0). out: of each result,
    the shape of what a cell has, and the dtype."""
    index = tile_index(spots)
    partners = (index.num_keys, index.keys) if along else (index.num_queries, index.queries)
    rows = len(partners[0])
    return call(
        functools.partial(kernel, along=along, seen=seen_by(spots)),
        (rows,),
        [jax.ShapeDtypeStruct((rows, CELLS, *shape), dtype) for shape, dtype in out],
        *(*partners, index.origins, index.words, *arrays),
        name=name,
        num_warps=8,
        num_stages=1,
    )


def _chunks(channels: int) -> list[pl.Slice]:
    """Cuts the channels, a power of two, so that a product's factors fit the shared memory."""
    size = min(channels, 64)
    return [pl.ds(first, size) for first in range(0, channels, size)]


def _walk(refs, along: int, seen, step, carry):
    """Folds step(tile0, tile1, mask, scores, carry) over the active partners of this program."""
    count_ref, tiles_ref, origins_ref, words_ref, f0_ref, f1_ref = refs
    row = pl.program_id(0)

    def body(number, carry):
        partner = tiles_ref[row, number]
        tile0, tile1 = (row, partner) if along else (partner, row)
        mask = seen(origins_ref, words_ref, tile0, tile1)
        score = tile_product(f0_ref, f1_ref, tile0, tile1)
        return step(tile0, tile1, mask, score, carry)

    return jax.lax.fori_loop(jnp.int32(0), count_ref[row], body, carry)


def _lse_kernel(*refs, along, seen):
    *refs, lse_ref = refs

    def step(tile0, tile1, mask, score, carry):
        top, total = carry
        score = jnp.where(mask, score, NOTHING)
        new_top = jnp.maximum(top, jnp.max(score, axis=along))
        above = jnp.minimum(score - jnp.expand_dims(new_top, along), 0.0)  # also when rounded
        weight = jnp.where(mask, jnp.exp(above), 0.0)
        return new_top, total * jnp.exp(top - new_top) + jnp.sum(weight, axis=along)

    start = jnp.full(CELLS, NOTHING, F32), jnp.zeros(CELLS, F32)
    top, total = _walk(refs, along, seen, step, start)
    some = total > 0
    lse = jnp.where(some, top + jnp.log(jnp.where(some, total, 1.0)), NOTHING)
    lse_ref[pl.program_id(0), :] = lse


def _slope_kernel(*refs, along, seen):
    *refs, lse0_ref, g0_ref, lse1_ref, g1_ref, out_ref = refs
    partner_ref = refs[5] if along else refs[4]

    def step(tile0, tile1, mask, score, slope):
        lse0, g0 = lse0_ref[tile0, :][:, None], g0_ref[tile0, :][:, None]
        lse1, g1 = lse1_ref[tile1, :][None], g1_ref[tile1, :][None]
        weight = g0 * jnp.exp(jnp.where(mask, jnp.minimum(score - lse0, 0.0), NOTHING))
        weight += g1 * jnp.exp(jnp.where(mask, jnp.minimum(score - lse1, 0.0), NOTHING))
        tile = tile1 if along else tile0
        return [
            part + product(weight, partner_ref[tile, :, some], (along, 0))
            for part, some in zip(slope, chunks, strict=True)
        ]

    chunks = _chunks(out_ref.shape[-1])
    start = [jnp.zeros((CELLS, some.size), F32) for some in chunks]
    for some, part in zip(chunks, _walk(refs, along, seen, step, start), strict=True):
        out_ref[pl.program_id(0), :, some] = part


def _best_kernel(*refs, along, seen, grid1):
    *refs, lse0_ref, lse1_ref, cell_ref, log_prob_ref = refs
    columns = tile_grid(grid1)[1]
    place = jnp.arange(CELLS, dtype=jnp.int32)

    def step(tile0, tile1, mask, score, carry):
        best, cell = carry
        log_prob = 2 * score - lse0_ref[tile0, :][:, None] - lse1_ref[tile1, :][None]
        log_prob = jnp.where(mask, log_prob, NOTHING)
        top = jnp.max(log_prob, axis=1)
        y, x = tile1 // columns * SIDE + place // SIDE, tile1 % columns * SIDE + place % SIDE
        hit = mask & (log_prob == top[:, None])
        lowest = jnp.min(jnp.where(hit, (y * grid1[1] + x)[None], _LARGEST), axis=1)
        tied = jnp.where(top == best, jnp.minimum(lowest, cell), cell)
        return jnp.maximum(best, top), jnp.where(top > best, lowest, tied)

    start = jnp.full(CELLS, NOTHING, F32), jnp.full(CELLS, _LARGEST, jnp.int32)
    best, cell = _walk(refs, along, seen, step, start)
    cell_ref[pl.program_id(0), :] = jnp.where(cell < _LARGEST, cell, -1)
    log_prob_ref[pl.program_id(0), :] = best
