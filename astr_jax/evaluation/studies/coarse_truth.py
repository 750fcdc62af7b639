"""The coarse stage of a batch with its truth: what studies of the model begin with."""

import jax
import jax.numpy as jnp

from astr_jax.matching import stages
from astr_jax.params import Params
from astr_jax.supervision import GroundTruth, PairBatch
from astr_jax.types import CoarseOutput, Features


def coarse_with_truth(
    params: Params, batch: PairBatch
) -> tuple[Features, Features, CoarseOutput, GroundTruth]:
    """Features of both images, the coarse output, and where the cells of image 0 truly belong.

    batch: b pairs, [b h w]; sides in pixels are multiples of 32, else ValueError. P stands at the
    calibrated temperature (docs/paper.md §5); points of the truth are pixels of these images.
    """
    features0, features1 = (
        stages.encode(params, image.astype(jnp.float32) / 255, mask)
        for image, mask in zip((batch.image0, batch.image1), batch.masks, strict=True)
    )
    coarse = stages.aggregate(params, features0, features1)
    truth = jax.vmap(lambda truth: truth.ground_truth())(batch.truth)
    return features0, features1, coarse, truth
