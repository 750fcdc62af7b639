"""What the attention layers of the coarse stage are called with, and their logits anew."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float, Int, PyTree

from astr_jax.config import ModelConfig
from astr_jax.layers.attention import CrossAttention
from astr_jax.models.kinds import network
from astr_jax.types import CoarseOutput, Features
from pallas_kernels.arrays import Array


def coarse_with_calls(
    config: ModelConfig, variables: PyTree, features0: Features, features1: Features
) -> tuple[CoarseOutput, dict[str, tuple]]:
    """Runs the coarse stage, and also returns the arguments of every attention layer, by name: x,
    source, mask, source_mask and spots, of image 0 looking at image 1."""
    calls: dict[str, tuple] = {}

    def record(call, args, kwargs, context):
        if isinstance(context.module, CrossAttention):
            calls.setdefault(context.module.name, args)  # the first call is image 0 to image 1
        return call(*args, **kwargs)

    with nn.intercept_methods(record):
        coarse = network(config).apply(variables, features0, features1, method="coarse")
    return coarse, calls


def attention_logits(
    layer: PyTree, x: Array, source: Array, queries: Int[Array, " q"], head_dim: int
) -> Float[Array, "h q m"]:
    """q k^T / sqrt(d) of some cells of x to all of source, of one pair and one layer's weights.

    x, source: [h w c], with a batch axis of 1 in front or without. The cells are numbered row by
    row.
    """
    c = x.shape[-1]
    q = x.reshape(-1, c)[queries].astype(jnp.float32) @ layer["q"]["kernel"]
    k = source.reshape(-1, c).astype(jnp.float32) @ layer["k"]["kernel"]
    q, k = (y.reshape(y.shape[0], -1, head_dim) for y in (q, k))
    return jnp.einsum("qhd,mhd->hqm", q, k) * head_dim**-0.5
