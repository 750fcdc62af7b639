"""Pairs of photographs by their numbers, and put together into a batch."""

from collections.abc import Callable, Iterable, Sequence

import jax
import numpy as np

from astr_jax.supervision import PairBatch


def stacked(pairs: Iterable[PairBatch]) -> PairBatch:
    """A batch of at least one pair, with a leading axis [b] on every array.

    The pairs have images of the same shapes and truths of the same kind.
    """
    return jax.tree.map(lambda *arrays: np.stack(arrays), *pairs)


class PhotoPairs:
    """An endless, repeatable list of pairs, each made of one photograph: pair i depends on
    (seed, i, difficulty) alone.

    make(photo, rng, difficulty, config, photos) makes one. apart: sets the random numbers apart
    from those of other kinds of pairs.
    """

    def __init__(
        self,
        make: Callable[..., PairBatch],
        photos: Sequence[np.ndarray],
        config,
        seed: int,
        apart: tuple[int, ...] = (),
    ):
        if len(photos) == 0:
            raise ValueError(f"{type(self).__name__} needs at least one photograph; got none.")
        self.make, self.photos, self.config, self.seed = make, photos, config, seed
        self.apart = apart

    def pair(self, index: int, difficulty: float) -> PairBatch:
        """Makes pair `index`."""
        rng = np.random.default_rng([self.seed, index, *self.apart])
        photo = self.photos[rng.integers(len(self.photos))]
        return self.make(photo, rng, difficulty, self.config, self.photos)

    def stack(self, indices: Iterable[int], difficulty: float) -> PairBatch:
        """A batch of pairs."""
        return stacked(self.pair(index, difficulty) for index in indices)
