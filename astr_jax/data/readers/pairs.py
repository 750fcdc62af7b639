"""Posed pairs, and the one interface that every reader of a data set has."""

import abc
import copy
import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from astr_jax.data.readers.calibration import checked_pose
from astr_jax.data.readers.views import View, load_view
from astr_jax.geometry import relative_pose
from astr_jax.supervision import DEPTH_TOLERANCE, DepthTruth, PairBatch


@dataclasses.dataclass(frozen=True, eq=False)
class PosedPair:
    """Two views of a scene and the way from one camera to the other; nothing is read yet."""

    scene: str
    view0: View
    view1: View
    cam1_from_cam0: Float[np.ndarray, "4 4"]  # in the unit of the depths
    overlap: float = float("nan")  # share of the scene that both see, as the index has it

    def __post_init__(self):
        name = f"{self.scene}: {self.view0.name}, {self.view1.name}"
        checked_pose(self.cam1_from_cam0, name)


class PosedDataset(abc.ABC):
    """A data set of posed pairs, in scenes. An index is read when its scene is first asked for."""

    def __init__(self, scenes: Sequence[str]):
        if not scenes:
            raise ValueError(f"{type(self).__name__} needs at least one scene; got none.")
        self.scenes = tuple(scenes)
        self._pairs: dict[str, Sequence[PosedPair]] = {}

    def pairs(self, scene: str) -> Sequence:
        """The PosedPairs of a scene, in the order of its index, each read when asked for."""
        if scene not in self.scenes:
            raise ValueError(
                f"There is no scene {scene!r}; the {len(self.scenes)} scenes begin with "
                f"{', '.join(self.scenes[:3])}."
            )
        if scene not in self._pairs:
            self._pairs[scene] = self.read_scene(scene)
        return self._pairs[scene]

    def only(self, scenes: Sequence[str]) -> "PosedDataset":
        """The same data set with some of its scenes."""
        if unknown := [scene for scene in scenes if scene not in self.scenes]:
            raise ValueError(f"There is no scene {', '.join(unknown)} to choose.")
        part = copy.copy(self)
        PosedDataset.__init__(part, scenes)
        return part

    @abc.abstractmethod
    def read_scene(self, scene: str) -> Sequence[PosedPair]:
        """Reads the index of a scene."""

    def load(self, pair: PosedPair, size: tuple[int, int]) -> PairBatch:
        """Reads a pair's files into arrays of size (h, w): grey, upright, padded at the right and
        the bottom. Raises UnreadableFile."""
        view0, view1 = load_view(pair.view0, size), load_view(pair.view1, size)
        cam1_from_cam0 = view1.upright_from_cam @ pair.cam1_from_cam0 @ view0.upright_from_cam.T
        truth = DepthTruth(
            depth0=view0.depth,
            depth1=view1.depth,
            K0=view0.K.astype(np.float32),
            K1=view1.K.astype(np.float32),
            cam1_from_cam0=cam1_from_cam0.astype(np.float32),
            tolerance=np.array(DEPTH_TOLERANCE, np.float32),
        )
        return PairBatch(view0.image, view1.image, view0.mask, view1.mask, truth)


class SceneFolders(PosedDataset):
    """A data set with a folder for each scene, which has its folder's name.

    min_overlap, max_overlap: of the pairs that count. Raises ValueError for two folders of a name.
    """

    def __init__(
        self,
        folders: Sequence[str | os.PathLike],
        *,
        min_overlap: float = 0.1,
        max_overlap: float = 0.9,
    ):
        self.folders = {pathlib.Path(folder).name: pathlib.Path(folder) for folder in folders}
        if len(self.folders) != len(folders):
            raise ValueError(f"Scenes are told apart by their folders' names; got {folders}.")
        self.overlaps = min_overlap, max_overlap
        super().__init__(list(self.folders))


class LazyPairs(Sequence):
    """Pairs that are made when asked for: an index of a million costs no million objects."""

    def __init__(self, count: int, make: Callable[[int], PosedPair]):
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> PosedPair:
        if not -self._count <= index < self._count:
            raise IndexError(f"pair {index} of {self._count}")
        return self._make(index % self._count)


def pairs_of_views(
    scene: str,
    view: Callable[[int], View],
    cam_from_world: Sequence | np.ndarray,
    index: Int[np.ndarray, "n 2"],
    overlap: Float[np.ndarray, " n"],
) -> LazyPairs:
    """The pairs `index` of a scene whose cameras stand in one world; view(i) makes view i.

    cam_from_world: poses in any form that `rigid_pose` takes, checked when a pair is asked for.
    """

    def make(k: int) -> PosedPair:
        i, j = (int(v) for v in index[k])
        view0, view1 = view(i), view(j)
        poses = (
            checked_pose(cam_from_world[k], f"{scene}: {view.name}")
            for k, view in ((i, view0), (j, view1))
        )
        return PosedPair(scene, view0, view1, relative_pose(*poses), float(overlap[k]))

    return LazyPairs(len(index), make)


def chosen_pairs(
    overlap: Float[np.ndarray, "n n"], least: float, most: float
) -> tuple[Int[np.ndarray, "k 2"], Float[np.ndarray, " k"]]:
    """Pairs i < j with least <= overlap <= most, of a symmetric matrix; and their overlap."""
    with np.errstate(invalid="ignore"):
        wanted = np.triu((overlap >= least) & (overlap <= most), k=1)
    index = np.argwhere(wanted)
    return index, overlap[wanted]
