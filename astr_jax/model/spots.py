"""Where each query looks: the spot area S(p) (spec section 4, steps 1 to 5). One pair at a time."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from astr_jax.config import AggregationConfig
from astr_jax.ops.grids import shifted, union_of_windows
from astr_jax.ops.matching import EMPTY, BestMatches


def select_centres(
    features: Float[Array, "h w c"],
    best: BestMatches,
    config: AggregationConfig,
) -> Int[Array, "h*w k"]:
    """The matches of p and of its best supported neighbours: k = supporters + 1 cells; -1 is none.

    Neighbours n are ranked by <F(p), F(n)> / sqrt(C) + log conf(n): similarity times confidence,
    for the window's softmax normaliser is the same for all of them. No gradient.
    """
    height, width, channels = features.shape
    features = jax.lax.stop_gradient(features).astype(jnp.float32) * channels**-0.25
    log_conf = best.log_prob.reshape(height, width)
    match = best.cell.reshape(height, width)
    reach = config.neighbourhood // 2
    moves = [
        (dy, dx)
        for dy in range(-reach, reach + 1)
        for dx in range(-reach, reach + 1)
        if (dy, dx) != (0, 0)
    ]
    scores, matches = [], []
    for dy, dx in moves:
        similarity = (features * shifted(features, dy, dx)).sum(axis=-1)
        support = shifted(log_conf, dy, dx, fill=EMPTY)
        scores.append(jnp.where(support > EMPTY / 2, similarity + support, EMPTY))
        matches.append(shifted(match, dy, dx, fill=-1))
    scores, matches = jnp.stack(scores, axis=-1), jnp.stack(matches, axis=-1)
    top, index = jax.lax.top_k(scores, config.supporters)  # [h w k-1]
    chosen = jnp.take_along_axis(matches, index, axis=-1)
    chosen = jnp.where(top > EMPTY / 2, chosen, -1)
    return jnp.concatenate([match[..., None], chosen], axis=-1).reshape(height * width, -1)


def spot_cells(
    centres: Int[Array, "n k"],
    query_mask: Bool[Array, " n"],
    key_mask: Bool[Array, "h1 w1"],
    config: AggregationConfig,
) -> Int[Array, "n s"]:
    """S(p) as a list: the union of the windows around the centres, clipped at border and mask.

    Every cell is listed once; -1 fills the rest. An invalid query has an empty spot.
    """
    centres = jnp.where(query_mask[:, None], centres, -1)
    cells = union_of_windows(centres, grid=key_mask.shape, window=config.window)
    seen = key_mask.reshape(-1)[jnp.maximum(cells, 0)]
    return jnp.where((cells >= 0) & seen, cells, -1)
