"""The batches of a run, step by step: homographies of photographs, photographs made scenes,
synthetic worlds, pairs of real scenes with tracks or with depth."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from rich import print as say

from astr_jax.data.homography import HomographyPairs
from astr_jax.data.lifted import LiftedPairs
from astr_jax.data.loader import Prefetch
from astr_jax.data.readers import PosedDataset, PosedPairs
from astr_jax.data.scenes import Scene
from astr_jax.data.track_pairs import TrackPairs
from astr_jax.data.worlds import atlas_of_some, render_pairs
from astr_jax.supervision import PairBatch
from astr_jax.training.devices import make_split
from astr_jax.training.experiment import KINDS, Experiment, Stage

TEXTURES = 256  # photographs in the atlas of the worlds
TEXTURE_SIDE = 256  # pixels
WORLDS = 2**31 - 1  # sets the worlds' random numbers apart from those of the steps

# (step, rows, device) -> those pairs of the step's batch
MakePairs = Callable[[int, range, jax.Device], PairBatch]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sources:
    """What a run trains on, and what it is tried on meanwhile."""

    photos: Sequence[np.ndarray] = ()
    validation_photos: Sequence[np.ndarray] = ()
    scenes: Sequence[Scene] = ()  # with tracks; all of them are trained on
    posed: PosedDataset | None = None  # with depth; some of its scenes are held back
    skip_bad: bool = False  # leave out the data set's files that cannot be read


class Batches:
    """The batches of a stage: `batch(step)`, the same in every run, whatever its devices.

    A batch is of one kind, drawn by the experiment's shares, and depends on its seed, the step and
    the difficulty alone: a run that goes on sees what it would have seen.
    """

    def __init__(
        self,
        experiment: Experiment,
        stage: Stage,
        mesh: Mesh,
        difficulty: Callable[[int], float],
        *,
        photos: Sequence[np.ndarray] = (),
        scenes: Sequence[Scene] = (),
        posed: PosedPairs | None = None,
    ):
        self.mesh, self.pairs, self.seed = mesh, stage.batch_size, experiment.train.seed
        self.posed, self._told = posed, set()
        shares = {kind: getattr(experiment, f"{kind}_share") for kind in KINDS}
        self.shares = shares | {"homographies": 1 - sum(shares.values())}
        self.sources: dict[str, MakePairs] = {}
        if self.shares["worlds"] > 0:
            self.sources["worlds"] = worlds_source(experiment, stage, photos, difficulty)
        if self.shares["posed"] > 0:
            self.sources["posed"] = posed_source(posed, stage)
        if self.shares["tracks"] > 0:
            given = experiment, stage, scenes, photos, difficulty
            self.sources["tracks"] = tracks_source(*given)
        for kind, source in (("lifted", lifted_source), ("homographies", homographies_source)):
            if self.shares[kind] > 1e-9:
                self.sources[kind] = source(experiment, stage, photos, difficulty)

    def batch(self, step: int) -> PairBatch:
        """The batch of a step, on the mesh."""
        weights = np.array([self.shares[name] for name in self.sources])
        draw = np.random.default_rng([self.seed, step, 1]).choice(
            list(self.sources), p=weights / weights.sum()
        )
        source = self.sources[draw]
        return make_split(self.mesh, self.pairs, lambda rows, device: source(step, rows, device))

    def say_bad_files(self) -> None:
        """Names the files that were skipped since it was last asked."""
        bad = dict(self.posed.bad) if self.posed else {}
        for path in sorted(bad.keys() - self._told):
            say(f"[yellow]skipped, {len(bad)} by now: {path}: {bad[path]}")
        self._told |= bad.keys()

    def ahead(self, start: int, num_threads: int) -> contextlib.closing[Prefetch]:
        """Iterates over the batches of steps start, start + 1, ..., made ahead of need."""
        threads = {"num_threads": num_threads, "ahead": max(8, 2 * num_threads)}
        return contextlib.closing(Prefetch(self.batch, start=start, **threads))


def homographies_source(experiment, stage: Stage, photos, difficulty) -> MakePairs:
    """Two views of a photograph, related by a homography."""
    data = HomographyPairs(photos, experiment.data_config(stage), experiment.train.seed)
    return numbered(data, stage, difficulty)


def lifted_source(experiment: Experiment, stage: Stage, photos, difficulty) -> MakePairs:
    """A photograph made a scene, seen by two cameras."""
    data = LiftedPairs(photos, experiment.lifted_config(stage), experiment.train.seed)
    return numbered(data, stage, difficulty)


def numbered(data, stage: Stage, difficulty) -> MakePairs:
    """Of pairs with numbers: data.stack(numbers, difficulty)."""

    def make(step, rows, device):
        first = step * stage.batch_size
        return data.stack(range(first + rows.start, first + rows.stop), difficulty(step))

    return make


def worlds_source(experiment: Experiment, stage: Stage, photos, difficulty) -> MakePairs:
    """Synthetic worlds, rendered by the device that trains on them."""
    seed = experiment.train.seed
    atlas = atlas_of_some(photos, seed, most=TEXTURES, side=TEXTURE_SIDE)
    root = jax.random.fold_in(jax.random.key(seed), WORLDS)
    config, atlases = experiment.worlds_config(stage), {}

    def make(step, rows, device):
        if device not in atlases:
            atlases[device] = jax.device_put(atlas, device)
        numbers = step * stage.batch_size + np.arange(rows.start, rows.stop)
        keys = jax.vmap(lambda number: jax.random.fold_in(root, number))(numbers)
        pairs, _ = render_pairs(
            jax.device_put(keys, device),
            atlases[device],
            jnp.float32(difficulty(step)),
            config=config,
            batch=len(rows),
        )
        return pairs

    return make


def tracks_source(experiment: Experiment, stage: Stage, scenes, photos, difficulty) -> MakePairs:
    """Two photographs of a real scene, related by their tracks."""
    if not scenes:
        raise ValueError("tracks_share is above 0: name the scenes by --tracks.")
    config, seed = experiment.tracks_config(stage), experiment.train.seed
    return numbered(TrackPairs(scenes, config, seed, photos), stage, difficulty)


def posed_source(posed: PosedPairs | None, stage: Stage) -> MakePairs:
    """Real pairs with depth."""
    if posed is None:
        raise ValueError("posed_share is above 0: name the data set with depth by --posed.")

    def make(step, rows, device):
        first = step * stage.batch_size
        return posed.stack(range(first + rows.start, first + rows.stop))

    return make


def posed_pairs(
    dataset: PosedDataset, stage: Stage, experiment: Experiment, *, skip_bad: bool
) -> PosedPairs:
    """The pairs of a data set at the stage's image size."""
    return PosedPairs(
        dataset,
        (stage.height, stage.width),
        per_scene=experiment.per_scene,
        seed=experiment.train.seed,
        skip_bad=skip_bad,
    )


def hold_back(dataset: PosedDataset) -> tuple[PosedDataset, PosedDataset | None]:
    """Splits a data set into scenes to train on and scenes to validate on: every twentieth place,
    at least one; none of a single place.

    A place is what a scene's name says before the first "_": MegaDepth's sub-scenes 0015_0.1_0.3
    and 0015_0.3_0.5, and ScanNet's scans scene0000_00 and scene0000_01, show the same.
    """

    def place_of(scene: str) -> str:
        return scene.split("_")[0]

    places = list(dict.fromkeys(map(place_of, dataset.scenes)))
    held = set(places[19::20] or places[1:][-1:])
    rest = [scene for scene in dataset.scenes if place_of(scene) not in held]
    others = [scene for scene in dataset.scenes if place_of(scene) in held]
    return dataset.only(rest), dataset.only(others) if others else None
