"""PyTorch's tensors in, and matches out: what the adapters of its packages share.

torch is imported where a tensor is made and nowhere else.
"""

import dataclasses
import functools
import os
from collections.abc import Mapping
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, Shaped

from astr_jax.api import load
from astr_jax.matching import Matcher, MatchOptions
from astr_jax.params import Params, find_weights
from astr_jax.types import Matches

OVERSHOOT = 0.2  # beyond [0, 1]: what resizing by cubics leaves
DEFAULTS = {"weights": None, **dataclasses.asdict(MatchOptions())}


class TensorMatcher:
    """Matches two images that are tensors.

    weights: as in `astr_jax.load`, or what it returned. options: those of `MatchOptions`. Both are
    checked here, but weights are loaded and JAX is started at the first pair: data loaders fork,
    and JAX cannot be forked once it runs. Raises FileNotFoundError, TypeError or ValueError.
    """

    def __init__(self, weights: Params | str | os.PathLike | None = None, **options):
        self.options = MatchOptions(**options)
        self.weights = weights if isinstance(weights, Params) else find_weights(weights)

    @classmethod
    def from_conf(cls, conf: Mapping) -> "TensorMatcher":
        """By the entries of DEFAULTS in a configuration; the others are its package's."""
        return cls(**{name: conf[name] for name in DEFAULTS})

    @functools.cached_property
    def matcher(self) -> Matcher:
        """The loaded matcher."""
        params = self.weights if isinstance(self.weights, Params) else load(self.weights)
        return Matcher(params, self.options)

    def __call__(self, image0, image1, mask0=None, mask1=None) -> Matches:
        """The valid matches of two images [C H W], with masks [H W] that are 0 where nothing is to
        be seen. Raises ValueError for tensors that are no images."""
        encoded = [
            self.matcher.encode(pixels_of(image, name), mask_of(mask), name=name)
            for name, image, mask in (("image0", image0, mask0), ("image1", image1, mask1))
        ]
        return self.matcher.match(*encoded).compact()


@no_type_check
def pixels_of(image, name: str) -> Float[np.ndarray, "h w c"]:
    """An image of [0, 1] with channels last, of a tensor [C H W]: grey, or red, green and blue.

    Up to OVERSHOOT beyond [0, 1] is clipped. Raises ValueError for anything else.
    """
    array = array_of(image)
    if array.ndim != 3 or array.shape[0] not in (1, 3) or not array.size:
        raise ValueError(
            f"{name} must be a tensor [C H W], grey (C = 1) or red, green and blue (C = 3); got "
            f"{tuple(array.shape)}."
        )
    low, high = array.min(), array.max()
    if not (low >= -OVERSHOOT and high <= 1 + OVERSHOOT):
        raise ValueError(
            f"{name} must lie in [0, 1]; it spans [{low:.4g}, {high:.4g}]. Divide by 255, or undo "
            "the normalisation by mean and deviation."
        )
    return np.clip(array, 0, 1).transpose(1, 2, 0)


@no_type_check
def mask_of(mask) -> Bool[np.ndarray, "h w"] | None:
    """True where usable, of a tensor [H W] that is 0 where not."""
    return None if mask is None else array_of(mask) > 0


@no_type_check
def array_of(tensor) -> Float[np.ndarray, "..."]:
    """float32 on the host, of a tensor of any type on any device; an array as it is."""
    if isinstance(tensor, np.ndarray):
        return tensor
    return tensor.detach().float().cpu().numpy()


@no_type_check
def tensor_of(array: Shaped[np.ndarray, "..."], like):
    """A tensor of an array, of its type, on the device of another tensor."""
    import torch

    return torch.tensor(array, device=like.device)
