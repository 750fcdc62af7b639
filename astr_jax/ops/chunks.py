"""A function of many rows, computed a few rows at a time: what it needs stays in a cache."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Bool, PyTree

from pallas_kernels.arrays import Array


def in_chunks(
    function: Callable[..., PyTree], valid: Bool[Array, " k"], *rows: Array, at_once: int = 256
) -> PyTree:
    """function(*rows) of rows [k ...], `at_once` at a time, up to the last valid one; beyond it 0.

    Its results have an axis of rows in front too. They carry no gradient.
    """
    k = len(valid)
    size = min(at_once, k)
    rows = [
        jnp.pad(jax.lax.stop_gradient(x), [(0, -k % size)] + [(0, 0)] * (x.ndim - 1)) for x in rows
    ]
    count = jnp.where(valid, jnp.arange(1, k + 1), 0).max()

    def step(i, out):
        some = function(*(jax.lax.dynamic_slice_in_dim(x, i * size, size) for x in rows))
        return jax.tree.map(
            lambda whole, part: jax.lax.dynamic_update_slice_in_dim(whole, part, i * size, 0),
            out,
            some,
        )

    kinds = jax.eval_shape(function, *(x[:size] for x in rows))
    empty = jax.tree.map(lambda x: jnp.zeros((len(rows[0]), *x.shape[1:]), x.dtype), kinds)
    out = jax.lax.fori_loop(0, -(-count // size), step, empty)
    return jax.tree.map(lambda x: x[:k], out)
