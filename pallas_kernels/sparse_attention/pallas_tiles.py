"""Spots on a GPU: block-sparse flash attention over tiles of 8 x 8 cells, in Pallas (Triton).

Neighbouring queries look at neighbouring keys, so 64 queries need few of the tiles of 64 keys, and
all scores of such a pair of tiles are one matrix product. Which of them count follows from the
windows' origins by arithmetic: a query's keys in a tile are 64 bits, the union over its windows
of (rows covered) x (columns covered), so no lists and no duplicates exist. Scores and sums are
float32. No atomics: the result is the same every time.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Bool, Float, Int

from pallas_kernels.arrays import Array
from pallas_kernels.sparse_attention import tile_lists
from pallas_kernels.sparse_attention.pairs import NOTHING
from pallas_kernels.sparse_attention.pallas_triton import call, padded_channels
from pallas_kernels.sparse_attention.tile_lists import CELLS, F32, SIDE, tile_index
from pallas_kernels.sparse_attention.windows import Spots
from pallas_kernels.target import target_platform

LARGEST_WINDOW = 11  # whose bits, twice and a tile's side, fit a word
LARGEST_ROW = 512  # bytes of a head's channels, so that tiles fit the shared memory


def tiles_forward(
    q: Float[Array, "n h d"], k: Float[Array, "m h d"], v, spots: Spots
) -> tuple[Float[Array, "n h d"], Float[Array, "n h"]]:
    """Returns out and the log-sum-exps of the scores; NOTHING for an empty spot."""
    (_, h, d), index = q.shape, tile_index(spots)
    tiles = _tiled(spots, q, k, v)
    t = len(tiles[0])
    out, lse = call(
        functools.partial(_forward_kernel, scale=d**-0.5, seen=seen_by(spots)),
        (t, h),
        [
            jax.ShapeDtypeStruct(tiles[0].shape, q.dtype),
            jax.ShapeDtypeStruct((t, h, CELLS), jnp.float32),
        ],
        *(index.num_keys, index.keys, index.origins, index.words, *tiles),
        name="tiles_forward",
        **_resources(q),
    )
    out = tile_lists.from_tiles(out, spots.grid0)[..., :d]
    return out, tile_lists.from_tiles(lse.swapaxes(1, 2), spots.grid0)


def tiles_backward(q, k, v, out, lse, g, spots: Spots):
    """Returns dq, dk, dv for the cotangent g of out."""
    (_, h, d), index = q.shape, tile_index(spots)
    delta = jnp.sum(out.astype(jnp.float32) * g.astype(jnp.float32), axis=-1)  # [n h]
    q, k, v, g = _tiled(spots, q, k, v, g)
    lse, delta = (tile_lists.to_tiles(x, spots.grid0).swapaxes(1, 2) for x in (lse, delta))
    shared = index.origins, index.words, q, k, v, g, lse, delta
    knobs = {"scale": d**-0.5, "seen": seen_by(spots)}
    (dq,) = call(
        functools.partial(_dq_kernel, **knobs),
        (len(q), h),
        [jax.ShapeDtypeStruct(q.shape, q.dtype)],
        *(index.num_keys, index.keys, *shared),
        name="tiles_dq",
        **_resources(q),
    )
    dk, dv = call(
        functools.partial(_dkv_kernel, **knobs),
        (len(k), h),
        [jax.ShapeDtypeStruct(k.shape, k.dtype)] * 2,
        *(index.num_queries, index.queries, *shared),
        name="tiles_dkv",
        **_resources(q),
    )
    grids = spots.grid0, spots.grid1, spots.grid1
    return tuple(
        tile_lists.from_tiles(x, grid)[..., :d] for x, grid in zip((dq, dk, dv), grids, strict=True)
    )


def _tiled(spots: Spots, q, k, v, *of_queries):
    """Features as [tiles 64 h p], channels padded for the kernel."""
    # Hidden features are multiplied by weights of 0: they must not be NaN.
    q, *of_queries = (jnp.where(spots.valid0[:, None, None], x, 0) for x in (q, *of_queries))
    k, v = (jnp.where(spots.valid1[:, None, None], x, 0) for x in (k, v))
    q, k, v, *of_queries = padded_channels(q, k, v, *of_queries)
    return (
        tile_lists.to_tiles(q, spots.grid0),
        tile_lists.to_tiles(k, spots.grid1),
        tile_lists.to_tiles(v, spots.grid1),
        *(tile_lists.to_tiles(x, spots.grid0) for x in of_queries),
    )


def _resources(q: Float[Array, "... d"]) -> dict[str, int]:
    """Where a tile's rows are long, more warps, whose registers hold it, and no tiles fetched
    ahead, for which the shared memory would not suffice."""
    long = q.shape[-1] * q.dtype.itemsize >= 256
    return {"num_warps": 8, "num_stages": 1} if long else {"num_warps": 4, "num_stages": 2}


def seen_by(spots: Spots):
    """The kernels' test of which keys of a tile the queries of another one look at."""
    knobs = {"window": spots.window, "columns": tile_lists.tile_grid(spots.grid1)[1]}
    return functools.partial(seen_keys, **knobs)


def seen_keys(
    origins_ref, words_ref, tile0, tile1, *, window: int, columns: int
) -> Bool[Array, "64 64"]:
    """Which keys of tile1 stand in a window of each query of tile0."""
    top, left = tile1 // columns * SIDE, tile1 % columns * SIDE
    upper, lower = jnp.zeros(CELLS, jnp.int32), jnp.zeros(CELLS, jnp.int32)  # four rows each
    for number in range(origins_ref.shape[1] // 2):
        rows = covered(origins_ref[tile0, 2 * number, :] - top, window)
        columns_ = covered(origins_ref[tile0, 2 * number + 1, :] - left, window)
        upper |= _a_byte_each(rows & 15) * columns_
        lower |= _a_byte_each(rows >> 4) * columns_
    upper, lower = upper & words_ref[tile1, 0], lower & words_ref[tile1, 1]
    key = jnp.arange(CELLS, dtype=jnp.int32)[None]
    word = jnp.where(key < 32, upper[:, None], lower[:, None])
    return (word >> (key & 31)) & 1 == 1


def covered(first: Int[Array, " t"], window: int) -> Int[Array, " t"]:
    """Eight bits: bit c is 1 where first <= c < first + window."""
    shift = jnp.clip(first + window, 0, SIDE + window)
    return ((((1 << window) - 1) << shift) >> window) & 255


def _a_byte_each(bits: Int[Array, " t"]) -> Int[Array, " t"]:
    """Bit i of the lowest four becomes bit 8 i: a factor that repeats a byte in these places."""
    return (bits * 0x00204081) & 0x01010101


def product(a: Float[Array, "a0 a1"], b: Float[Array, "b0 b1"], contract=(1, 0)):
    """A matrix product with float32 sums, and of full precision for float32 numbers: on a GPU by
    three products of TensorFloat-32, which the tensor cores do several times faster than one."""
    precision = None
    if a.dtype == jnp.float32:
        on_gpu = target_platform() == "gpu"
        precision = jax.lax.DotAlgorithmPreset.TF32_TF32_F32_X3 if on_gpu else "highest"
    dimensions = ((contract[0],), (contract[1],)), ((), ())
    return jax.lax.dot_general(
        a, b, dimensions, precision=precision, preferred_element_type=jnp.float32
    )


def tile_product(a_ref, b_ref, tile0, tile1, *head) -> Float[Array, "64 64"]:
    """The product of the rows of two tiles, over 256 bytes of channels at a time: in a loop, since
    the shared memory would not hold all factors at once."""
    channels = a_ref.shape[-1]
    size = min(channels, 256 // a_ref.dtype.itemsize)

    def part(some):
        return product(a_ref[tile0, :, *head, some], b_ref[tile1, :, *head, some], (1, 1))

    if size == channels:
        return part(slice(None))

    def step(number, total):
        return total + part(pl.ds(number * size, size))

    start = jnp.zeros((CELLS, CELLS), F32)
    return jax.lax.fori_loop(jnp.int32(0), jnp.int32(channels // size), step, start)


def _forward_kernel(count_ref, tiles_ref, origins_ref, words_ref, *refs, scale, seen):
    q_ref, k_ref, v_ref, out_ref, lse_ref = refs
    tile0, head = pl.program_id(0), pl.program_id(1)
    q = q_ref[tile0, :, head, :]  # [64 d]

    def step(number, carry):
        top, total, value = carry
        tile1 = tiles_ref[tile0, number]
        mask = seen(origins_ref, words_ref, tile0, tile1)
        score = product(q, k_ref[tile1, :, head, :], (1, 1)) * scale
        score = jnp.where(mask, score, NOTHING)
        new_top = jnp.maximum(top, jnp.max(score, axis=1))
        weight = jnp.where(mask, jnp.exp(jnp.minimum(score - new_top[:, None], 0.0)), 0.0)
        shrink = jnp.exp(top - new_top)
        total = total * shrink + jnp.sum(weight, axis=1)
        more = product(weight.astype(q.dtype), v_ref[tile1, :, head, :])
        return new_top, total, value * shrink[:, None] + more

    start = jnp.full(CELLS, NOTHING, F32), jnp.zeros(CELLS, F32), jnp.zeros(q.shape, F32)
    top, total, value = jax.lax.fori_loop(jnp.int32(0), count_ref[tile0], step, start)
    some = total > 0
    total = jnp.where(some, total, 1.0)
    out_ref[tile0, :, head, :] = (value / total[:, None]).astype(out_ref.dtype)
    lse_ref[tile0, head, :] = jnp.where(some, top + jnp.log(total), NOTHING)


def _slopes(refs, tile0, tile1, head, mask, scale):
    """The weights of a pair of tiles, and the loss's derivatives to its scores before scaling."""
    q_ref, k_ref, v_ref, g_ref, lse_ref, delta_ref = refs
    score = tile_product(q_ref, k_ref, tile0, tile1, head) * scale
    above = jnp.minimum(score - lse_ref[tile0, head, :][:, None], 0.0)  # also when rounded
    weight = jnp.exp(jnp.where(mask, above, NOTHING))
    slope = tile_product(g_ref, v_ref, tile0, tile1, head)
    return weight, weight * (slope - delta_ref[tile0, head, :][:, None]) * scale


def _dq_kernel(count_ref, tiles_ref, origins_ref, words_ref, *refs, scale, seen):
    *refs, dq_ref = refs
    k_ref, tile0, head = refs[1], pl.program_id(0), pl.program_id(1)

    def step(number, dq):
        tile1 = tiles_ref[tile0, number]
        mask = seen(origins_ref, words_ref, tile0, tile1)
        _, slope = _slopes(refs, tile0, tile1, head, mask, scale)
        return dq + product(slope.astype(k_ref.dtype), k_ref[tile1, :, head, :])

    start = jnp.zeros((CELLS, dq_ref.shape[-1]), F32)
    dq = jax.lax.fori_loop(jnp.int32(0), count_ref[tile0], step, start)
    dq_ref[tile0, :, head, :] = dq.astype(dq_ref.dtype)


def _dkv_kernel(count_ref, tiles_ref, origins_ref, words_ref, *refs, scale, seen):
    *refs, dk_ref, dv_ref = refs
    q_ref, g_ref, tile1, head = refs[0], refs[3], pl.program_id(0), pl.program_id(1)

    def step(number, carry):
        dk, dv = carry
        tile0 = tiles_ref[tile1, number]
        mask = seen(origins_ref, words_ref, tile0, tile1)
        weight, slope = _slopes(refs, tile0, tile1, head, mask, scale)
        dk += product(slope.astype(q_ref.dtype), q_ref[tile0, :, head, :], (0, 0))
        dv += product(weight.astype(g_ref.dtype), g_ref[tile0, :, head, :], (0, 0))
        return dk, dv

    start = (jnp.zeros((CELLS, dk_ref.shape[-1]), F32),) * 2
    dk, dv = jax.lax.fori_loop(jnp.int32(0), count_ref[tile1], step, start)
    dk_ref[tile1, :, head, :] = dk.astype(dk_ref.dtype)
    dv_ref[tile1, :, head, :] = dv.astype(dv_ref.dtype)
