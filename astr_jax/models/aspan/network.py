"""The span model: ASTR's backbone and fine stage about flow-guided spans (docs/spans.md)."""

import jax.numpy as jnp

from astr_jax.config import AspanConfig
from astr_jax.layers.backbone import Backbone
from astr_jax.model.astr import ASTR
from astr_jax.model.fine import FineMatching
from astr_jax.models.aspan.aggregation import SpanAggregation


class Aspan(ASTR):
    """The calls of ASTR. Its coarse stage looks within spans, and its coarse output has flows."""

    config: AspanConfig

    def setup(self):
        config, dtype = self.config, jnp.dtype(self.config.dtype)
        self.backbone = Backbone(config.backbone, dtype, config.recompute)
        given = config.aggregation, config.matching, dtype, config.recompute
        self.aggregation = SpanAggregation(*given)
        self.fine_matching = FineMatching(config.fine, config.backbone.fine_stride, dtype)
