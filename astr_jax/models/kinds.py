"""Which network a configuration asks for, by its type."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from astr_jax.config import AspanConfig, ModelConfig
from astr_jax.model.astr import ASTR
from astr_jax.models.aspan.network import Aspan
from pallas_kernels.arrays import Array

NETWORKS = {ModelConfig: ASTR, AspanConfig: Aspan}  # each as `astr_jax.models.contract` says


def network(config: ModelConfig) -> nn.Module:
    """The matcher of a configuration, without variables."""
    return NETWORKS[type(config)](config)


def init_variables(config: ModelConfig, key: Array) -> dict:
    """Fresh variables: {"params": ..., "batch_stats": ...}."""
    image, mask = jnp.zeros((1, 64, 64, 1)), jnp.ones((1, 64, 64), bool)
    return jax.jit(network(config).init)(key, image, image, mask, mask)
