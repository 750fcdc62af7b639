"""Random problems for the tests of spots, of few shapes, so that they share compilations."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels.sparse_attention import Spots, spot_attention
from pallas_kernels.sparse_attention.dispatch import TILES_OR_LISTS, attend_spots


@dataclasses.dataclass(frozen=True)
class Shape:
    """The static facts of a problem of spots."""

    grid0: tuple[int, int]
    grid1: tuple[int, int]
    window: int
    windows: int  # a query
    heads: int = 2
    channels: int = 8  # a head

    def __str__(self):
        (a, b), (c, d) = self.grid0, self.grid1
        return f"{a}x{b}-{c}x{d}-w{self.window}"


SHAPES = (
    Shape((5, 7), (9, 11), window=5, windows=5),  # several tiles of keys, none of them full
    Shape((3, 4), (17, 10), window=11, windows=3, heads=3, channels=20),  # wider than a tile
    Shape((9, 3), (1, 1), window=3, windows=2, heads=1, channels=5),  # one key
    Shape((10, 9), (6, 5), window=11, windows=1, channels=3),  # every window is the whole grid
    Shape((8, 8), (8, 16), window=1, windows=4, heads=1, channels=16),  # whole tiles, single cells
)


def random_spots(shape, seed, missing=0.3, masked=0.2):
    """Spots with centres at the corners, twice in a row, and none; and random ones.

    missing: the share of centres that are -1; masked: of cells that the masks leave out.
    """
    rng = np.random.default_rng(seed)
    n, m = np.prod(shape.grid0), np.prod(shape.grid1)
    centres = rng.integers(0, m, (n, shape.windows))
    centres[rng.random(centres.shape) < missing] = -1
    centres[0] = -1  # an empty spot
    centres[1] = m - 1  # one window, given several times, at the last corner
    centres[2, 0] = 0
    centres[3, -1] = shape.grid1[1] - 1
    valid0, valid1 = rng.random(n) >= masked, rng.random(m) >= masked
    return Spots(
        jnp.asarray(centres, jnp.int32),
        jnp.asarray(valid0),
        jnp.asarray(valid1),
        shape.grid0,
        shape.grid1,
        shape.window,
    )


def random_features(shape, seed, dtype=jnp.float32):
    """q, k, v and a cotangent g of the output."""
    rng = np.random.default_rng(seed)
    n, m = np.prod(shape.grid0), np.prod(shape.grid1)
    sizes = [(x, shape.heads, shape.channels) for x in (n, m, m, n)]
    return tuple(jnp.asarray(rng.normal(size=size), dtype) for size in sizes)


def attend(implementation, q, k, v, spots):
    """spot_attention, and also what None runs on a GPU, which has no name there."""
    if implementation == TILES_OR_LISTS:
        return attend_spots(implementation, q, k, v, spots)
    return spot_attention(q, k, v, **spots.arguments(), implementation=implementation)


@functools.partial(jax.jit, static_argnums=0)
def value_and_gradients(implementation, q, k, v, g, spots):
    """Output and gradients of one implementation; one compilation per shape."""
    out, pull = jax.vjp(lambda *x: attend(implementation, *x, spots), q, k, v)
    return out, pull(g)
