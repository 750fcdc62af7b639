"""Hierarchical attention: global on the coarsest map, local within spans (docs/spans.md)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float

from astr_jax.config import SpanConfig
from astr_jax.layers.attention import CrossAttention
from astr_jax.layers.backbone import convolution, level_mask, upsample2
from astr_jax.model.aggregation import Aggregation, Map8, Map32, Mask8, Mask32, cross, flat
from astr_jax.models.aspan.flow import FlowHead, Frame, same_place
from astr_jax.ops.grids import COARSE_STRIDE
from astr_jax.types import BlockFlows, BlockMatrices, Features, Flow
from pallas_kernels.arrays import Array
from pallas_kernels.sparse_attention import Both, Spans


class Lateral(nn.Module):
    """What the cells at 1/8 take of the map at 1/32: conv1x1, up-sampled four times."""

    dtype: DTypeLike

    @nn.compact
    def __call__(self, fine: Map8, coarse: Map32, mask8: Mask8, mask32: Mask32) -> Map8:
        up = convolution(fine.shape[-1], 1, dtype=self.dtype, name="lateral")(coarse)
        mask16 = level_mask(mask8, 2)
        return upsample2(upsample2(up, mask32, mask16), mask16, mask8)


class SpanAggregation(Aggregation):
    """Exchanges what the two images know: returns both F8 maps, each block's flows (and with
    `spots` its P), and where each block looks."""

    config: SpanConfig

    def setup(self):
        super().setup()
        config, blocks = self.config, range(self.config.blocks)
        self.lateral = [Lateral(self.dtype) for _ in blocks]
        self.flow8 = [FlowHead(self.dtype) for _ in blocks]
        if config.self_attention:
            layer = nn.remat(CrossAttention) if self.recompute else CrossAttention
            knobs = config.head_dim, config.implementation, self.dtype
            self.self8 = [layer("linear", *knobs) for _ in blocks]

    def __call__(self, features0: Features, features1: Features):
        m8 = features0.mask8, features1.mask8
        m32 = features0.mask32, features1.mask32
        frames = tuple(map(Frame.of, m8))
        x32 = cross(self.first32, (features0.coarse32, features1.coarse32), m32)
        x8 = cross(self.first8, (features0.coarse8, features1.coarse8), m8)
        places = tuple(map(same_place, m8, frames[::-1]))
        supervised, looks, spots = [], [], None
        for number in range(self.config.blocks):
            x32 = tuple(self.down[number](*given) for given in zip(x8, x32, m8, m32, strict=True))
            x32 = cross(self.cross32[number], x32, m32)
            context = tuple(map(self.lateral[number], x8, x32, m8, m32))
            flows = tuple(map(self.flow8[number], x8, context, m8, places, frames[::-1]))
            places = tuple(flow.points / COARSE_STRIDE for flow in flows)
            supervised.append(BlockFlows(*flows))
            look = self.spans(flows, m8)
            if self.config.spots:
                matrix, best = self.match(x8, m8, spots)
                spots = self.look(x8, m8, best)
                supervised.append(BlockMatrices(*matrix))
                look = tuple(map(Both, spots, look))
            looks.append(look)
            if self.config.self_attention:
                x8 = tuple(self.self8[number](x, x, m, m) for x, m in zip(x8, m8, strict=True))
            x8 = cross(self.spot8[number], x8, m8, look, context)
        return x8, tuple(supervised), tuple(looks)

    def spans(self, flows: tuple[Flow, Flow], m8) -> tuple[Spans, Spans]:
        """Where each cell looks: about the mean of its flow, as far as the deviation says. It
        carries no gradient: a flow learns from its own loss alone."""
        grids, valid = [m.shape[1:] for m in m8], [flat(m) for m in m8]
        samples = self.config.samples or None

        def spans_of(flow: Flow, here: int) -> Spans:
            flow, there = jax.lax.stop_gradient(flow), 1 - here
            return Spans(
                flow.points / COARSE_STRIDE,
                self.half_sides(flow),
                valid[here],
                valid[there],
                grids[here],
                grids[there],
                samples,
                self.config.reach,
            )

        return spans_of(flows[0], 0), spans_of(flows[1], 1)

    def half_sides(self, flow: Flow) -> Float[Array, "b n 2"]:
        """Of the spans, in cells: so many deviations, within bounds."""
        config = self.config
        halves = config.deviations * flow.sigma / COARSE_STRIDE
        return jnp.clip(halves, config.least_half, config.most_half)
