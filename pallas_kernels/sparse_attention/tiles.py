"""Runs an attention over padded lists tile by tile, so that the work stays in the cache.

A tile is a few queries. Its scores (and, where it gathers, its keys) exist only while it runs:
memory does not grow with the number of queries, and the backward pass computes them again.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap

from pallas_kernels.arrays import Array
from pallas_kernels.target import target_platform


def in_tiles(attend: Callable, tile: int) -> Callable:
    """Returns (q, k, v, bias, cells) -> out that runs `attend` on `tile` queries at a time.

    attend: (q [tile h d], k [nk h d], v [nk h d], bias [tile s], cells [tile s]) -> [tile h d], all
    float32 or finer. bias: the logarithms of the weights, or None. The result has the dtype of q.
    On a CPU a vmapped batch runs one problem after the other: all at once would spill out of the
    cache and takes twice the time. Differentiable in reverse mode, once.
    """
    per_problem = sequential_vmap if target_platform() == "cpu" else lambda f: f

    @per_problem
    def forward(q, k, v, bias, cells):
        return _map_tiles(attend, tile, q, k, v, bias, cells)

    @per_problem
    def backward(q, k, v, bias, cells, g):
        _, pull = jax.vjp(lambda *x: _map_tiles(attend, tile, *x, cells), q, k, v, bias)
        return pull(g)

    attention = jax.custom_vjp(forward)
    attention.defvjp(
        lambda *inputs: (forward(*inputs), inputs),
        lambda inputs, g: (*backward(*inputs, g), None),
    )
    return attention


def _map_tiles(attend: Callable, tile: int, q, k, v, bias: Array | None, cells: Array) -> Array:
    """Cuts the queries into tiles, the last one filled up with empty lists, and maps attend."""
    dtype = q.dtype if jnp.finfo(q.dtype).bits > 32 else jnp.float32
    # Cast before the loop, so that the tiles' gradients of k and v are summed in float32 too.
    k, v = k.astype(dtype), v.astype(dtype)
    tiles = _cut(q.astype(dtype), tile, empty=0), _cut(cells, tile, empty=-1)
    if bias is None:
        out = jax.lax.map(jax.checkpoint(lambda t: attend(t[0], k, v, None, t[1])), tiles)
    else:
        tiles += (_cut(bias.astype(dtype), tile, empty=0),)
        out = jax.lax.map(jax.checkpoint(lambda t: attend(t[0], k, v, t[2], t[1])), tiles)
    return out.reshape(-1, *q.shape[1:])[: q.shape[0]].astype(q.dtype)


def _cut(x: Array, tile: int, empty: int) -> Array:
    """[n ...] -> [tiles tile ...], padded with `empty`."""
    padding = ((0, -x.shape[0] % tile), *((0, 0),) * (x.ndim - 1))
    return jnp.pad(x, padding, constant_values=empty).reshape(-1, tile, *x.shape[1:])
