"""Tiles or lists for a spot on a GPU: chosen while it runs, by how many tiles are active."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float

from pallas_kernels.arrays import Array
from pallas_kernels.sparse_attention.tile_lists import active_tiles, window_origins
from pallas_kernels.sparse_attention.windows import Spots

# Active tiles of keys for a tile of queries, on average, up to which tiles are taken. An estimate:
# 6 to 12 are active with good matches, about 60 with 30 % of outliers.
MOST_TILES = 48.0


def mean_active_tiles(spots: Spots) -> Float[Array, ""]:
    """How many tiles of keys a tile of queries looks at, on average."""
    return active_tiles(window_origins(spots), spots).sum(axis=1).mean(dtype=jnp.float32)


def tiles_or_lists(tiles: Callable, lists: Callable) -> Callable:
    """Returns (*arrays, spots) -> tiles(*arrays, spots) or lists(*arrays, Lists), which must agree.

    A vmapped batch, of any depth, decides once, by its mean: `jax.lax.cond` alone would run both.
    """

    def by_lists(spots: Spots, *arrays):
        return lists(*arrays, spots.lists())

    def by_tiles(spots: Spots, *arrays):
        return tiles(*arrays, spots)

    def of_batch(axes: int):
        def each(function):
            return functools.reduce(lambda inner, _: jax.vmap(inner), range(axes), function)

        @jax.custom_batching.custom_vmap
        def run(spots, *arrays):
            few = each(mean_active_tiles)(spots).mean() <= MOST_TILES
            return jax.lax.cond(few, each(by_tiles), each(by_lists), spots, *arrays)

        @run.def_vmap
        def run_batch(size, batched, *given):
            given = jax.tree.map(
                lambda x, has: x if has else jnp.broadcast_to(x, (size, *x.shape)),
                given,
                tuple(batched),
            )
            out = of_batch(axes + 1)(*given)
            return out, jax.tree.map(lambda _: True, out)

        return run

    return lambda *given: of_batch(0)(given[-1], *given[:-1])
