"""Which pairs an epoch has, and their batches: scene-balanced, in the paper 100 pairs a sub-scene.

Everything follows from the step number, so a run that goes on needs no other state.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from astr_jax.data.loader import Prefetch
from astr_jax.data.readers.bad_files import BadFiles, UnreadableFile
from astr_jax.data.readers.pairs import PairArrays, PosedDataset


def scene_balanced(
    sizes: Sequence[int],
    *,
    per_scene: int = 100,
    seed: int,
    epoch: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Int[np.ndarray, "n 2"]:
    """The (scene, pair) of an epoch that fall to one process, in random order.

    sizes: how many pairs each scene has. A scene gives per_scene different pairs; one with fewer
    gives all of them equally often, as nearly as can be; an empty one none. All processes get
    equally many, so up to process_count - 1 pairs of the epoch are left out.
    """
    if not 0 <= process_index < process_count:
        raise ValueError(f"process_index must be in 0 .. {process_count - 1}; got {process_index}.")
    if per_scene < 1:
        raise ValueError(f"per_scene must be 1 or more; got {per_scene}.")
    rng = np.random.default_rng([seed, epoch])
    chosen = []
    for scene, size in enumerate(sizes):
        rounds = -(-per_scene // size) if size else 0
        order = [rng.permutation(size) for _ in range(rounds)]
        pairs = np.concatenate([np.empty(0, int), *order])[:per_scene]
        chosen.append(np.stack([np.full(len(pairs), scene), pairs], axis=-1))
    epoch_pairs = rng.permutation(np.concatenate(chosen))
    share = len(epoch_pairs) // process_count
    return epoch_pairs[process_index::process_count][:share]


class PosedPairs:
    """The training pairs of a data set: batches by step number, the same in every run.

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
        process_index: int = 0,
        process_count: int = 1,
        skip_bad: bool = False,
    ):
        self.dataset, self.size = dataset, size
        self.bad = BadFiles(skip=skip_bad)
        self._share = {
            "per_scene": per_scene,
            "seed": seed,
            "process_index": process_index,
            "process_count": process_count,
        }
        self._counts = [len(self._pairs_of(scene)) for scene in dataset.scenes]
        self._last: tuple[int, np.ndarray] = (-1, np.empty((0, 2), int))
        if not len(self.order(0)):
            raise ValueError(f"The {len(dataset.scenes)} scenes have no pair for each process.")

    def __len__(self) -> int:
        """Pairs of one process in an epoch."""
        return len(self.order(0))

    def order(self, epoch: int) -> Int[np.ndarray, "n 2"]:
        """The (scene, pair) of this process in an epoch."""
        last, order = self._last
        if last != epoch:
            order = scene_balanced(self._counts, epoch=epoch, **self._share)
            self._last = epoch, order
        return order

    def pair(self, index: int) -> PairArrays:
        """Reads pair `index`, counted through the epochs."""
        epoch, row = divmod(index, len(self))
        scene, first = (int(v) for v in self.order(epoch)[row])
        name = self.dataset.scenes[scene]
        pairs = self.dataset.pairs(name)
        for k in range(len(pairs)):
            with self.bad.skipped():
                return self.dataset.load(pairs[(first + k) % len(pairs)], self.size)
        raise UnreadableFile(name, f"none of the {len(pairs)} pairs of this scene can be read")

    def batch(self, step: int, batch_size: int) -> dict[str, np.ndarray]:
        """Stacks the pairs of one step: the fields of PairArrays, each with a leading axis."""
        pairs = [self.pair(step * batch_size + k) for k in range(batch_size)]
        return {
            name: np.stack(values)
            for name, values in zip(PairArrays._fields, zip(*pairs, strict=True), strict=True)
        }

    def batches(
        self, start_step: int, batch_size: int, num_threads: int = 2, ahead: int = 8
    ) -> Prefetch:
        """Iterates over the batches of steps start_step, start_step + 1, ... without end."""
        return Prefetch(
            lambda step: self.batch(step, batch_size),
            start=start_step,
            num_threads=num_threads,
            ahead=ahead,
        )

    def _pairs_of(self, scene: str) -> Sequence:
        pairs = ()
        with self.bad.skipped():
            pairs = self.dataset.pairs(scene)
        return pairs
