"""The smallest models, and random variables of them."""

import dataclasses
import math

import jax
import numpy as np

from astr_jax.config import (
    AggregationConfig,
    BackboneConfig,
    FineConfig,
    MatchingConfig,
    ModelConfig,
)
from astr_jax.models.kinds import init_variables

MICRO = ModelConfig(
    backbone=BackboneConfig(widths=(4, 8, 16, 16, 16), blocks=(1, 1, 1, 1, 1), fine_stride=4),
    aggregation=AggregationConfig(blocks=2, head_dim=8),
    matching=MatchingConfig(threshold=0.0, block=64),
    fine=FineConfig(head_dim=8, zooms=(2.0, 1.0)),
    train_side=96,
)

NANO = dataclasses.replace(
    MICRO,
    aggregation=dataclasses.replace(MICRO.aggregation, blocks=1),
    fine=dataclasses.replace(MICRO.fine, zooms=(1.0,)),
)


def random_variables(config):
    """Kernels about as wide as initialised ones, and rough norms; nothing is compiled for them."""
    shapes = jax.eval_shape(lambda: init_variables(config, jax.random.key(0)))
    rng = np.random.default_rng(0)

    def drawn(x):
        fan_in = max(1, math.prod(x.shape[:-1]))
        return np.asarray(rng.normal(size=x.shape) / fan_in**0.5, np.float32)

    return roughened(jax.tree.map(drawn, shapes), seed=0)


def roughened(variables, seed):
    """Moves every scale, bias, mean and variance away from 1 and 0."""
    rng = np.random.default_rng(seed)

    def moved(path, x):
        leaf = path[-1].key
        if leaf in ("scale", "var"):
            x = rng.uniform(0.6, 1.5, x.shape)
        elif leaf in ("bias", "mean"):
            x = rng.uniform(-0.3, 0.3, x.shape)
        return np.asarray(x, np.float32)

    return jax.tree_util.tree_map_with_path(moved, variables)
