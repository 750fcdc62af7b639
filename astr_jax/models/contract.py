"""What a matcher is: three calls, and outputs that supervision understands by their types.

    features = encode(images, mask)                       # once per image
    coarse = coarse(features0, features1)                 # once per pair
    refined = fine(features0, features1, *coarse.maps, points0, points1, ratio)

All that leads from two images to matches, and all of training, sees a matcher through these calls
and through `CoarseOutput`. What of a coarse output is supervised lies in `coarse.supervised`, each
with its own loss: `BlockMatrices` by the focal loss on true pairs, `BlockFlows` by the likelihood
of the true place. A new kind of matcher needs a configuration with a kind, a Flax module with these
calls, and a line in `astr_jax.models.kinds`.
"""

from typing import Protocol

from jaxtyping import Bool, Float

from astr_jax.config import ModelConfig
from astr_jax.types import CoarseOutput, Features, Refined
from pallas_kernels.arrays import Array


class Matcher(Protocol):
    """A Flax module whose methods are reached by apply(variables, ..., method="encode")."""

    config: ModelConfig

    def encode(
        self, images: Float[Array, "b h w 1"], mask: Bool[Array, "b h w"], *, train: bool = False
    ) -> Features:
        """Grey images in [0, 1], sides multiples of 32, and where they are usable."""

    def coarse(self, features0: Features, features1: Features) -> CoarseOutput:
        """What both images know together: aggregated maps at 1/8, P, and what is supervised."""

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
        """One step of refinement of estimates points1, pixels, with crops of the ratio."""

    def __call__(self, images0, images1, mask0, mask1, *, train: bool = False) -> Refined:
        """Runs every part once, to make the variables."""
