"""ASTR: encode each image, match coarsely, refine (docs/paper.md §0)."""

from typing import no_type_check

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float

from astr_jax.config import ModelConfig
from astr_jax.layers.backbone import Backbone, level_mask, masked
from astr_jax.layers.position import normalised_positional_encoding
from astr_jax.model.aggregation import Aggregation, final_matrix, flat
from astr_jax.model.fine import FineMatching, padded_cells
from astr_jax.ops.grids import eroded, long_sides
from astr_jax.ops.matching import best_matches
from astr_jax.ops.neighbourhoods import log_confidence_at, mutual_neighbours
from astr_jax.ops.per_pair import per_pair
from astr_jax.types import CoarseMatches, CoarseOutput, Features, Refined
from pallas_kernels.arrays import Array


class ASTR(nn.Module):
    """The model as three calls: encode (per image), coarse (per pair), fine (per match).

    Methods are reached by ASTR(config).apply(variables, ..., method="encode").
    """

    config: ModelConfig

    def setup(self):
        config, dtype = self.config, jnp.dtype(self.config.dtype)
        self.backbone = Backbone(config.backbone, dtype, config.recompute)
        self.aggregation = Aggregation(config.aggregation, config.matching, dtype, config.recompute)
        self.fine_matching = FineMatching(config.fine, config.backbone.fine_stride, dtype)

    @no_type_check
    def encode(
        self,
        images: Float[Array, "b h w 1"],
        mask: Bool[Array, "b h w"],
        *,
        train: bool = False,
    ) -> Features:
        """One backbone pass and the positional encoding.

        images: grey in [0, 1], sides multiples of 32; mask: True on usable pixels. Every image
        counts as the square of its long side within the padding (docs/paper.md §2).
        """
        check_images(images, mask)
        side = long_sides(mask)
        coarse32, coarse8, fine = self.backbone(images, mask, train=train)
        mask8, mask32 = level_mask(mask, 8), level_mask(mask, 32)

        def encoded(x, at):
            position = normalised_positional_encoding(
                x.shape[1:3],
                x.shape[-1],
                train_width=self.config.train_side,
                train_height=self.config.train_side,
                width=side,
                height=side,
            )
            return masked(x + position.astype(x.dtype), at)

        return Features(
            coarse32=encoded(coarse32, mask32),
            coarse8=encoded(coarse8, mask8),
            fine=fine,
            mask32=mask32,
            mask8=mask8,
            fine_mask=level_mask(mask, self.config.backbone.fine_stride),
        )

    def coarse(self, features0: Features, features1: Features) -> CoarseOutput:
        """Aggregation and the matching matrix P."""
        masks = features0.mask8, features1.mask8
        maps, supervised, looks = self.aggregation(features0, features1)
        return CoarseOutput(
            features0=flat(maps[0]),
            features1=flat(maps[1]),
            mask0=flat(masks[0]),
            mask1=flat(masks[1]),
            matrix=final_matrix(maps, masks, self.config.matching),
            supervised=supervised,
            spots=looks,
        )

    def fine(
        self,
        features0: Features,
        features1: Features,
        context0: Float[Array, "b n c"],
        context1: Float[Array, "b m c"],
        points0: Float[Array, "b k 2"],
        points1: Float[Array, "b k 2"],
        ratio: Float[Array, "b k"],
        zoom: float | Float[Array, ""] = 1.0,
    ) -> Refined:
        """One step of refinement: where in image 1 is each point of image 0 (docs/paper.md §7)?

        context0, context1: the aggregated maps of the coarse stage, flattened. points1: estimates,
        pixels. ratio: r = s_j / s_i of each point (docs/paper.md §6). zoom: of both crops.
        """
        given = features0, features1, context0, context1, points0, points1, ratio, zoom
        return self.fine_matching(*given)

    def __call__(self, images0, images1, mask0, mask1, *, train: bool = False):
        """Runs every part once, to make the variables."""
        features0 = self.encode(images0, mask0, train=train)
        features1 = self.encode(images1, mask1, train=train)
        coarse = self.coarse(features0, features1)
        points, ratio = jnp.zeros((len(images0), 1, 2)), jnp.ones((len(images0), 1))
        return self.fine(features0, features1, *coarse.maps, points, points, ratio)


def check_images(images, mask) -> None:
    """Raises ValueError for shapes that the pyramid cannot take."""
    if images.ndim != 4 or images.shape[-1] != 1:
        raise ValueError(f"images must be [b h w 1], grey; got {images.shape}.")
    if images.shape[1] % 32 or images.shape[2] % 32:
        raise ValueError(f"image sides must be multiples of 32; got {images.shape}. Pad and mask.")
    if mask.shape != images.shape[:3]:
        raise ValueError(f"mask must be {images.shape[:3]}, one value a pixel; got {mask.shape}.")


def coarse_matches(
    coarse: CoarseOutput,
    mask0: Bool[Array, "b h w"],
    mask1: Bool[Array, "b h1 w1"],
    config: ModelConfig,
    capacity: int,
    *,
    threshold: float | Array | None = None,
) -> CoarseMatches:
    """Mutual nearest neighbours above the threshold, away from the border (docs/paper.md §5).

    The `capacity` most confident are kept, sorted by confidence.
    """
    least = config.matching.threshold if threshold is None else threshold
    reach, border = config.matching.reach, config.matching.border
    grids = mask0.shape[1:], mask1.shape[1:]

    def of_pair(matrix, mask0, mask1):
        cell1 = mutual_neighbours(*best_matches(matrix), grids[0], reach=reach)
        cell0 = jnp.arange(cell1.shape[0])
        confidence = jnp.exp(log_confidence_at(matrix, cell0, cell1, *grids, reach=reach))
        usable0, usable1 = (eroded(mask, border).reshape(-1) for mask in (mask0, mask1))
        usable = usable0 & usable1[jnp.maximum(cell1, 0)] & (confidence > least)
        return cell1, jnp.where(usable, confidence, 0.0)

    cells, confidence = per_pair(of_pair)(coarse.matrix, mask0, mask1)
    return padded_cells(cells, confidence, capacity)
