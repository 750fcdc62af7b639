"""Which pairs an epoch has: scene-balanced, in the paper 100 pairs a sub-scene.

Everything follows from the number of a pair, so a run that goes on needs no other state.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int

from astr_jax.data.readers.bad_files import BadFiles, UnreadableFile
from astr_jax.data.readers.pairs import PosedDataset
from astr_jax.data.stacking import stacked
from astr_jax.supervision import PairBatch


def scene_balanced(
    sizes: Sequence[int],
    *,
    per_scene: int = 100,
    seed: int,
    epoch: int,
) -> Int[np.ndarray, "n 2"]:
    """The (scene, pair) of an epoch, in random order.

    sizes: how many pairs each scene has. A scene gives per_scene different pairs; one with fewer
    gives all of them equally often, as nearly as can be; an empty one none.
    """
    if per_scene < 1:
        raise ValueError(f"per_scene must be 1 or more; got {per_scene}.")
    rng = np.random.default_rng([seed, epoch])
    chosen = []
    for scene, size in enumerate(sizes):
        rounds = -(-per_scene // size) if size else 0
        order = [rng.permutation(size) for _ in range(rounds)]
        pairs = np.concatenate([np.empty(0, int), *order])[:per_scene]
        chosen.append(np.stack([np.full(len(pairs), scene), pairs], axis=-1))
    return rng.permutation(np.concatenate(chosen))


class PosedPairs:
    """The training pairs of a data set, counted through the epochs, the same in every run.

    Of several processes each stacks the rows of a batch that fall to it.

    With skip_bad, a pair whose files are missing or damaged is replaced by the next good one of
    its scene; `bad` then has the reason for each such file. A scene without a good pair, and any
    bad file without skip_bad, raises UnreadableFile.
    """

    def __init__(
        self,
        dataset: PosedDataset,
        size: tuple[int, int],
        *,
        per_scene: int = 100,
        seed: int = 0,
        skip_bad: bool = False,
    ):
        self.dataset, self.size = dataset, size
        self.bad = BadFiles(skip=skip_bad)
        self._per_scene, self._seed = per_scene, seed
        self._counts = [len(self._pairs_of(scene)) for scene in dataset.scenes]
        self._last: tuple[int, np.ndarray] = (-1, np.empty((0, 2), int))
        self._length = len(self.order(0))
        if not self._length:
            raise ValueError(f"The {len(dataset.scenes)} scenes have no pair.")

    def __len__(self) -> int:
        """Pairs of an epoch."""
        return self._length

    def order(self, epoch: int) -> Int[np.ndarray, "n 2"]:
        """The (scene, pair) of each pair of an epoch."""
        last, order = self._last
        if last != epoch:
            order = scene_balanced(
                self._counts, per_scene=self._per_scene, seed=self._seed, epoch=epoch
            )
            self._last = epoch, order
        return order

    def pair(self, index: int) -> PairBatch:
        """Reads pair `index`, counted through the epochs."""
        epoch, row = divmod(index, len(self))
        scene, first = (int(v) for v in self.order(epoch)[row])
        name = self.dataset.scenes[scene]
        pairs = self.dataset.pairs(name)
        for k in range(len(pairs)):
            with self.bad.skipped():
                return self.dataset.load(pairs[(first + k) % len(pairs)], self.size)
        raise UnreadableFile(name, f"none of the {len(pairs)} pairs of this scene can be read")

    def stack(self, indices: Iterable[int]) -> PairBatch:
        """A batch of pairs."""
        return stacked(self.pair(index) for index in indices)

    def _pairs_of(self, scene: str) -> Sequence:
        pairs = ()
        with self.bad.skipped():
            pairs = self.dataset.pairs(scene)
        return pairs
