"""Which photographs look alike, by the encoder's own features: no network beside the matcher's.

A photograph's descriptor is the standard deviation of each channel of its 1/32 features over the
picture: what kinds of structure there are, not where. Channels are brought to mean 0 and deviation
1 over the photographs at hand; then the cosine says how alike two are.
"""

import os
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from astr_jax.matching import Matcher, MatchOptions
from astr_jax.params import Params

SIZE = 320  # limit of the long side, pixels


def describe(
    params: Params,
    paths: Sequence[str | os.PathLike],
    on_image: Callable[[], None] = lambda: None,
) -> Float[np.ndarray, "n c"]:
    """The descriptors of photographs. on_image hears of each that is done."""
    matcher = Matcher(params, MatchOptions(resize=SIZE))
    found = []
    for path in paths:
        features = matcher.encode(path, name=str(path)).features
        cells = np.asarray(features.coarse32[0], np.float32)[np.asarray(features.mask32[0])]
        found.append(cells.std(axis=0))
        on_image()
    return np.stack(found)


def similarity(
    descriptors: Float[np.ndarray, "n c"], others: Float[np.ndarray, "m c"] | None = None
) -> Float[np.ndarray, "m n"]:
    """How alike every two photographs are, in [-1, 1].

    others: photographs that are compared with the first, whose channels alone say what is usual;
    None for the same again.
    """
    mean, deviation = descriptors.mean(axis=0), descriptors.std(axis=0) + 1e-6

    def unit(x):
        x = (x - mean) / deviation
        return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)

    return unit(descriptors if others is None else others) @ unit(descriptors).T
