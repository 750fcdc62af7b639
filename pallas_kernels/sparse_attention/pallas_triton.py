"""What the Pallas kernels need of the Triton backend. No other file here names a backend.

Triton's arrays have sizes that are powers of two. The kernels over lists read and write rows by
explicit indices with a mask, so that the arrays in memory may have any length.
"""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Bool, Float, Int

from pallas_kernels.arrays import Array
from pallas_kernels.target import target_platform

_NUMBERS = 4096  # of partners' features that a program holds at a time


def call(
    kernel,
    grid: tuple[int, ...],
    out: list,
    *arrays,
    name: str,
    num_warps: int = 4,
    num_stages: int = 2,
) -> tuple:
    """Runs kernel(*refs of arrays, *refs of out) once for every point of the grid.

    out: shapes of the results. The kernel sees all arrays whole. On a GPU it is compiled by
    Triton; elsewhere it is interpreted, which is slow and meant for tests.
    """

    def whole(x):
        return pl.BlockSpec(x.shape, lambda *_: (0,) * len(x.shape))

    return pl.pallas_call(
        kernel,
        grid=grid,
        in_specs=[whole(x) for x in arrays],
        out_specs=[whole(x) for x in out],
        out_shape=out,
        interpret=target_platform() != "gpu",
        name=name,
        compiler_params=triton.CompilerParams(num_warps=num_warps, num_stages=num_stages),
    )(*arrays)


def padded_channels(*arrays: Float[Array, "... d"]) -> list[Float[Array, "... p"]]:
    """The arrays with channels up to the next power of two, at least 16, filled with zeros."""
    d, rank = arrays[0].shape[-1], arrays[0].ndim
    more = max(16, 1 << (d - 1).bit_length()) - d
    pads = ((0, 0),) * (rank - 1) + ((0, more),)
    return [jnp.pad(x, pads) for x in arrays] if more else list(arrays)


def chunk_of(features: Float[Array, "n h p"]) -> int:
    """How many partners a program takes at a time: a power of two."""
    return max(16, min(128, _NUMBERS // features.shape[-1]))


def walk(first_ref, row: Int[Array, ""], chunk: int, step, carry):
    """Folds step((places [chunk], which of them belong to the row), carry) over a row's segment."""
    first, end = first_ref[row], first_ref[row + 1]

    def body(number, carry):
        place = first + number * chunk + jnp.arange(chunk, dtype=jnp.int32)
        return step((place, place < end), carry)

    steps = (end - first + jnp.int32(chunk - 1)) // jnp.int32(chunk)
    return jax.lax.fori_loop(jnp.int32(0), steps, body, carry)


def partners(partner_ref, places, end: int) -> tuple[Int[Array, " c"], Bool[Array, " c"]]:
    """The partners in these places, and which of them are somebody: in [0, end), since an index
    out of range would read foreign memory."""
    partner = _load(partner_ref, (places[0],), places[1], other=-1)
    listed = (partner >= 0) & (partner < end)
    return jnp.where(listed, partner, 0), listed


def load_rows(ref, rows: Int[Array, " c"], head, mask: Bool[Array, " c"]) -> Float[Array, "c p"]:
    """Rows of one head of ref [n h p], as float32; zeros where the mask is False."""
    channel = jnp.arange(ref.shape[-1], dtype=jnp.int32)[None]
    return _load(ref, (rows[:, None], head, channel), mask[:, None], 0.0).astype(jnp.float32)


def load_row(ref, row: Int[Array, ""], head) -> Float[Array, "1 p"]:
    """One row of one head of ref [n h p], as float32."""
    return ref[row, head, :].astype(jnp.float32)[None]


def load_numbers(ref, rows: Int[Array, " c"], head, mask: Bool[Array, " c"]) -> Float[Array, " c"]:
    """Numbers of ref [n h]; zero where the mask is False."""
    return _load(ref, (rows, head), mask, 0.0)


def load_number(ref, row: Int[Array, ""], head) -> Float[Array, ""]:
    """One number of ref [n h]."""
    return ref[row, head]


def store_row(ref, row: Int[Array, ""], head, value: Float[Array, "1 p"]) -> None:
    """Writes one row of one head of ref [n h p]."""
    ref[row, head, :] = value.reshape(-1).astype(ref.dtype)


def store_number(ref, row: Int[Array, ""], head, value: Array) -> None:
    """Writes one number of ref [n h]."""
    ref[row, head] = value.astype(ref.dtype)


def load_places(ref, place) -> Float[Array, " c"]:
    """One number for each of some places of ref [l], as `walk` gives them; 0 for another row's."""
    return _load(ref, (place[0],), place[1], 0.0)


def store_places(ref, place, head, value: Float[Array, " c"]) -> None:
    """Writes one number of a head into each of some places of ref [l h], but for another row's."""
    index = jnp.broadcast_arrays(place[0], head)
    triton.store(ref.at[tuple(index)], value.astype(ref.dtype), mask=place[1])


def _load(ref, index: tuple, mask, other) -> Array:
    """ref[index] where the mask is True. index: integer arrays or scalars, broadcast together."""
    index = jnp.broadcast_arrays(*index)
    mask = jnp.broadcast_to(mask, index[0].shape)
    return triton.load(ref.at[tuple(index)], mask=mask, other=other)
