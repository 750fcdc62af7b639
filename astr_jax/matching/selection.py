"""Which matches stay after polishing: the exact ones, as far as there are enough.

A match that does not settle lies on an edge, where texture is weak, or at the rim of something; or
it is wrong. It is a pixel or two off, and a few such spoil what many exact ones say. One that
settles has been looked at twice, so that a less sure one may serve where there are few.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from astr_jax.types import Matches
from pallas_kernels.arrays import Array

ENOUGH = 20  # settled matches of a pair: then what did not settle is left out
PLENTY = 100  # of them: below it, less sure ones are looked at too
LESS_SURE = 0.3  # confidence of these, at least


def exact(valid: Bool[Array, "*b k"], settled: Bool[Array, "*b k"]) -> Bool[Array, "*b k"]:
    """The matches that stay: the settled ones, or all where fewer than ENOUGH settle."""
    return valid & (settled | (settled.sum(axis=-1, keepdims=True) < ENOUGH))


def exact_with_less_sure(
    confidence: Float[np.ndarray, " k"], settled: Bool[np.ndarray, " k"], threshold: float
) -> Bool[np.ndarray, " k"]:
    """The settled matches above the threshold, and surest first as many more as make PLENTY.

    The rows are sorted by confidence.
    """
    return settled & ((confidence > threshold) | (np.cumsum(settled) <= PLENTY))


def only(matches: Matches, keep: Bool[Array, "*b k"]) -> Matches:
    """The rows to keep, in their order; the others become padding behind them."""
    axis, keep = keep.ndim - 1, np.asarray(keep)
    order = np.argsort(~keep, axis=axis, kind="stable")
    keep = np.take_along_axis(keep, order, axis)

    def rows(x, empty=0):
        beyond = (1,) * (x.ndim - keep.ndim)
        x = np.take_along_axis(np.asarray(x), order.reshape(order.shape + beyond), axis)
        return np.where(keep.reshape(keep.shape + beyond), x, np.asarray(empty, x.dtype))

    cells = {name: rows(getattr(matches, name), -1) for name in ("cell0", "cell1")}
    found = jax.tree.map(rows, matches).replace(**cells)
    return jax.tree.map(jnp.asarray, found) if isinstance(matches.valid, jax.Array) else found
