"""Where one cell looks: the attention weights of a query, for pictures (supplement Figure 3)."""

import functools

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, PyTree

from astr_jax.config import ModelConfig
from astr_jax.instruments.coarse_calls import attention_logits, coarse_with_calls
from astr_jax.ops.grids import COARSE_STRIDE, nearest_cells
from astr_jax.types import Features
from pallas_kernels.arrays import Array


@flax.struct.dataclass
class AttentionMaps:
    """What one cell of image 0 sees of image 1 in one spot-guided block; means over the heads.

    Every map sums to 1, or to 0 where the cell has nothing to look at.
    """

    query: Float[Array, "2"]  # the cell's centre (x, y), pixels of the working image 0
    vanilla: Float[Array, "h32 w32"]  # the block's vanilla cross attention at 1/32
    everywhere: Float[Array, "h8 w8"]  # the spot layer's queries and keys, without the spot
    spot: Float[Array, "h8 w8"]  # the same over the spot area alone: what the layer does
    area: Bool[Array, "h8 w8"]  # the spot area S(p)


@functools.partial(jax.jit, static_argnames=("config", "block"))
def attention_maps(
    config: ModelConfig,
    variables: PyTree,
    features0: Features,
    features1: Features,
    point: Float[Array, "2"],
    *,
    block: int = -1,
) -> AttentionMaps:
    """The attention of the cell nearest to a point (x, y), in pixels of the working image 0.

    features0, features1: of one pair (b = 1). block: which spot-guided block; -1 is the last.
    """
    number = range(config.aggregation.blocks)[block]
    _, calls = coarse_with_calls(config, variables, features0, features1)

    def cell_at(stride, grid):
        last = (jnp.array(grid[::-1], jnp.float32) - 1) * stride
        xy = jnp.clip(point, 0, last)
        return nearest_cells(xy, grid, stride)

    def weights(name, cell, listed=None):
        x, source, _, source_mask, _ = calls[name]
        layer = variables["params"]["aggregation"][name]
        seen = source_mask.reshape(-1)
        seen = seen if listed is None else seen & listed
        mean = _mean_attention(layer, x, source, cell, seen, config.aggregation.head_dim)
        return mean.reshape(source.shape[1:3])

    grid8, grid32 = features0.mask8.shape[1:], features0.mask32.shape[1:]
    cell8, cell32 = cell_at(COARSE_STRIDE, grid8), cell_at(32, grid32)
    spots = jax.tree.map(lambda x: x[0], calls[f"spot8_{number}"][4])
    keys = jnp.arange(features1.mask8[0].size)
    area = spots.holds(jnp.broadcast_to(cell8, keys.shape), keys)
    return AttentionMaps(
        query=jnp.stack(jnp.divmod(cell8, grid8[1])[::-1]).astype(jnp.float32) * COARSE_STRIDE,
        vanilla=weights(f"cross32_{number}", cell32),
        everywhere=weights(f"spot8_{number}", cell8),
        spot=weights(f"spot8_{number}", cell8, area),
        area=area.reshape(features1.mask8.shape[1:]),
    )


def _mean_attention(layer, x, source, cell, seen: Bool[Array, " m"], head_dim: int):
    """softmax(q k^T / sqrt(d)) of one query over the seen keys, mean over heads; [m]."""
    logits = attention_logits(layer, x, source, cell[None], head_dim)[:, 0]
    weight = jax.nn.softmax(jnp.where(seen, logits, -1e30), axis=-1)
    return jnp.where(seen, weight, 0.0).mean(axis=0)
