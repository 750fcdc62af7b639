"""Where each query looks: the centres of its spot's windows (docs/paper.md §4, steps 1 to 5)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from astr_jax.config import AggregationConfig
from astr_jax.ops.grids import shifted
from astr_jax.ops.matching import EMPTY, BestMatches
from pallas_kernels.arrays import Array


def select_centres(
    features: Float[Array, "h w c"],
    best: BestMatches,
    config: AggregationConfig,
) -> Int[Array, "n k"]:
    """The matches of p and of its best supported neighbours: k = supporters + 1 cells; -1 is none.

    Neighbours n are ranked by <F(p), F(n)> / sqrt(C) + log conf(n): similarity times confidence,
    for the window's softmax normaliser is the same for all of them. No gradient.
    """
    height, width, channels = features.shape
    features = jax.lax.stop_gradient(features).astype(jnp.float32) * channels**-0.25
    log_conf = best.log_prob.reshape(height, width)
    match = best.cell.reshape(height, width)
    reach = config.neighbourhood // 2
    moves = [(dy, dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]
    support = jnp.stack([shifted(log_conf, *move, fill=EMPTY) for move in moves], axis=-1)
    matches = jnp.stack([shifted(match, *move, fill=-1) for move in moves], axis=-1)
    neighbour = np.array([move != (0, 0) for move in moves])
    scores = window_similarity(features, reach) + support
    scores = jnp.where(neighbour[None, None] & (support > EMPTY / 2), scores, EMPTY)
    top, index = jax.lax.top_k(scores, config.supporters)  # [h w k-1]
    chosen = jnp.take_along_axis(matches, index, axis=-1)
    chosen = jnp.where(top > EMPTY / 2, chosen, -1)
    return jnp.concatenate([match[..., None], chosen], axis=-1).reshape(height * width, -1)


def window_similarity(features: Float[Array, "h w c"], reach: int) -> Float[Array, "h w s"]:
    """<F(p), F(n)> for every n in the square window of p, row by row; 0 outside the map.

    Half of it is computed: <F(p), F(n)> is <F(n), F(p)>.
    """
    channels = features.shape[-1]
    padded = jnp.pad(features, ((0, reach), (reach, reach), (0, 0)))
    line = range(-reach, reach + 1)

    def ahead(move):
        """Of a cell that comes after p, row by row."""
        start = (move[0], reach + move[1], 0)
        products = features * jax.lax.dynamic_slice(padded, start, features.shape)
        return jnp.matmul(products, jnp.ones(channels), precision="highest")  # quicker than sum

    moves = [(dy, dx) for dy in line for dx in line]
    after = len(moves) // 2  # the first is p itself
    products = jax.lax.map(ahead, jnp.array(moves[after:]))  # [half h w]
    back = [shifted(products[i], *moves[after - i]) for i in range(after, 0, -1)]
    return jnp.moveaxis(jnp.concatenate([jnp.stack(back), products]), 0, -1)
