"""The spot-guided aggregation module (docs/paper.md §4)."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from astr_jax.config import AggregationConfig, MatchingConfig
from astr_jax.layers.attention import CrossAttention
from astr_jax.layers.backbone import convolution, level_mask, masked, upsample2
from astr_jax.layers.dtypes import layer_norm, widened
from astr_jax.model.spots import select_centres
from astr_jax.ops.matching import BestMatches, DualSoftmax, best_matches, dual_softmax
from astr_jax.ops.per_pair import per_pair
from astr_jax.types import BlockMatrices, Features
from pallas_kernels import sparse_attention
from pallas_kernels.arrays import Array
from pallas_kernels.sparse_attention import Spots

Map8 = Float[Array, "b h8 w8 c8"]
Map32 = Float[Array, "b h32 w32 c32"]
Mask8 = Bool[Array, "b h8 w8"]
Mask32 = Bool[Array, "b h32 w32"]


def flat(x: Array) -> Array:
    """[b h w ...] -> [b h*w ...]."""
    return x.reshape(x.shape[0], -1, *x.shape[3:])


class FuseUp(nn.Module):
    """F8 + conv1x1(upsample4(F32)), then a 3x3 convolution and norm."""

    dtype: DTypeLike

    @nn.compact
    def __call__(self, fine: Map8, coarse: Map32, mask8: Mask8, mask32: Mask32) -> Map8:
        # The 1x1 convolution and the up-sampling commute, and the small map is cheaper.
        up = convolution(fine.shape[-1], 1, dtype=self.dtype, name="lateral")(coarse)
        mask16 = level_mask(mask8, 2)
        up = upsample2(upsample2(up, mask32, mask16), mask16, mask8)
        y = masked(jnp.add(*widened(fine, up)), mask8)
        y = convolution(fine.shape[-1], 3, dtype=self.dtype, name="mix")(y)
        return masked(layer_norm(y, dtype=self.dtype, name="norm"), mask8)


class FuseDown(nn.Module):
    """F32 + two 3x3 convolutions of stride 2 of F8, then a 3x3 convolution and norm."""

    dtype: DTypeLike

    @nn.compact
    def __call__(self, fine: Map8, coarse: Map32, mask8: Mask8, mask32: Mask32) -> Map32:
        width, out = fine.shape[-1], coarse.shape[-1]
        y = convolution(width, 3, 2, dtype=self.dtype, name="down1")(masked(fine, mask8))
        y = convolution(out, 3, 2, dtype=self.dtype, name="down2")(masked(y, level_mask(mask8, 2)))
        y = masked(jnp.add(*widened(coarse, y)), mask32)
        y = convolution(out, 3, dtype=self.dtype, name="mix")(y)
        return masked(layer_norm(y, dtype=self.dtype, name="norm"), mask32)


class Aggregation(nn.Module):
    """Exchanges what the two images know: returns both F8 maps, what of each block is supervised
    (its P), and where each block looks (its spots)."""

    config: AggregationConfig
    matching: MatchingConfig
    dtype: DTypeLike = jnp.float32
    recompute: bool = False

    def setup(self):
        config, blocks = self.config, range(self.config.blocks)
        layer = nn.remat(CrossAttention) if self.recompute else CrossAttention

        def attention(kind):
            return layer(kind, config.head_dim, config.implementation, self.dtype, config.pool)

        self.first32 = attention("vanilla")
        self.first8 = attention("linear")
        self.down = [FuseDown(self.dtype) for _ in blocks]
        self.up = [FuseUp(self.dtype) for _ in (*blocks, "last")]
        self.cross32 = [attention("vanilla") for _ in blocks]
        self.spot8 = [attention("spot") for _ in blocks]

    def __call__(self, features0: Features, features1: Features):
        m8 = features0.mask8, features1.mask8
        m32 = features0.mask32, features1.mask32
        x32 = cross(self.first32, (features0.coarse32, features1.coarse32), m32)
        x8 = cross(self.first8, (features0.coarse8, features1.coarse8), m8)
        matrices, looks, spots = [], [], None
        for down, up, cross32, spot8 in zip(
            self.down, self.up[:-1], self.cross32, self.spot8, strict=True
        ):
            x8, x32 = fuse_both(up, down, x8, x32, m8, m32)
            x32 = cross(cross32, x32, m32)
            matrix, best = self.match(x8, m8, spots)
            spots = self.look(x8, m8, best)
            matrices.append(BlockMatrices(*matrix))
            looks.append(spots)
            x8 = cross(spot8, x8, m8, spots)
        x8 = tuple(map(self.up[-1], x8, x32, m8, m32))
        return x8, tuple(matrices), tuple(looks)

    def match(self, x8, m8, spots):
        """This block's matching matrix and each cell's best match, both ways. In the first block
        over all pairs; later only on the pairs of the spots before, one matrix a direction."""
        f0, f1 = map(flat, x8)
        if spots is None:
            matrix = final_matrix(x8, m8, self.matching)
            return (matrix, None), per_pair(best_matches)(matrix)
        matrices = self.match_spots(f0, f1, spots[0]), self.match_spots(f1, f0, spots[1])
        return matrices, tuple(BestMatches(m.best, m.best_log_prob) for m in matrices)

    def match_spots(self, f0, f1, spots: Spots):
        """P on the pairs of the spots alone."""
        scale = 1 / (f0.shape[-1] * self.matching.temperature)
        implementation = self.config.implementation

        def one_pair(f0, f1, spots):
            knobs = {"scale": scale, "implementation": implementation}
            return sparse_attention.dual_softmax(f0, f1, spots, **knobs)

        return per_pair(one_pair)(f0, f1, spots)

    def look(self, x8, m8, best) -> tuple[Spots, Spots]:
        """S(p) of every cell of both images, in the other one."""
        grids = [m.shape[1:] for m in m8]
        centres = [
            per_pair(lambda f, b: select_centres(f, b, self.config))(f, b)
            for f, b in zip(x8, best, strict=True)
        ]
        valid = [flat(m) for m in m8]
        window = self.config.window
        return (
            Spots(centres[0], valid[0], valid[1], grids[0], grids[1], window),
            Spots(centres[1], valid[1], valid[0], grids[1], grids[0], window),
        )


def cross(layer, maps, masks, looks=(None, None), contexts=(None, None)):
    """Each image attends to the other with the same weights, from the features before."""
    return (
        layer(maps[0], maps[1], masks[0], masks[1], looks[0], context=contexts[0]),
        layer(maps[1], maps[0], masks[1], masks[0], looks[1], context=contexts[1]),
    )


def fuse_both(up, down, x8, x32, m8, m32):
    """F8 down to F32 and F32 up to F8, both from the maps before."""
    return tuple(map(up, x8, x32, m8, m32)), tuple(map(down, x8, x32, m8, m32))


def final_matrix(x8, m8, config: MatchingConfig) -> DualSoftmax:
    """P of the aggregated features, over all pairs (docs/paper.md §5)."""
    return per_pair(
        lambda *a: dual_softmax(*a, temperature=config.temperature, block=config.block)
    )(*map(flat, x8), *map(flat, m8))
