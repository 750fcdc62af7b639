"""How evenly the heads of the spot attention look over their spots."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, PyTree

from astr_jax.config import ModelConfig
from astr_jax.instruments.coarse_calls import attention_logits, coarse_with_calls
from astr_jax.types import CoarseOutput, Features
from pallas_kernels.arrays import Array
from pallas_kernels.sparse_attention import Index

QUERIES = 256  # cells of image 0 that are looked at, spread evenly over it


def coarse_with_entropy(
    config: ModelConfig, variables: PyTree, features0: Features, features1: Features
) -> tuple[CoarseOutput, Float[Array, "b blocks heads"]]:
    """Runs the coarse stage, and also returns the entropy of each head of each spot layer, from
    image 0 to image 1: mean over cells of -sum w log w, as a share of the log of the number of
    keys of the spot. 1 is uniform, 0 is one key alone; NaN where no spot has two keys.

    The weights are computed anew, for QUERIES cells of an image, outside the kernels.
    """
    coarse, calls = coarse_with_calls(config, variables, features0, features1)
    cells = features0.mask8[0].size
    queries = np.unique(np.linspace(0, cells - 1, min(cells, QUERIES)).round().astype(int))
    blocks = []
    for number in range(config.aggregation.blocks):
        name = f"spot8_{number}"
        x, source, _, _, spots = calls[name]
        layer = variables["params"]["aggregation"][name]

        def one_pair(given, layer=layer):
            return _entropies(layer, *given, jnp.asarray(queries), config.aggregation.head_dim)

        blocks.append(jax.lax.map(one_pair, (x, source, spots)))
    return coarse, jnp.stack(blocks, axis=1)


def _entropies(
    layer: PyTree, x: Array, source: Array, spots: Index, queries: Int[Array, " q"], head_dim: int
) -> Float[Array, " heads"]:
    """Of one pair and one layer."""
    logits = attention_logits(layer, x, source, queries, head_dim)
    keys = jnp.arange(logits.shape[-1])
    seen = jax.vmap(lambda query: spots.holds(jnp.broadcast_to(query, keys.shape), keys))(queries)
    log_weight = jax.nn.log_softmax(jnp.where(seen[None], logits, -1e30), axis=-1)
    entropy = -jnp.where(seen[None], jnp.exp(log_weight) * log_weight, 0.0).sum(axis=-1)  # [h q]
    size = seen.sum(axis=-1)
    several = size > 1
    share = entropy / jnp.log(jnp.where(several, size, 2))[None]
    return jnp.where(several[None], share, 0.0).sum(axis=1) / several.sum(dtype=jnp.float32)
