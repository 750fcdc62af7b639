"""Pairs put together into a batch."""

from collections.abc import Iterable

import jax
import numpy as np

from astr_jax.supervision import PairBatch


def stacked(pairs: Iterable[PairBatch]) -> PairBatch:
    """A batch of at least one pair, with a leading axis [b] on every array.

    The pairs have images of the same shapes and truths of the same kind.
    """
    return jax.tree.map(lambda *arrays: np.stack(arrays), *pairs)
