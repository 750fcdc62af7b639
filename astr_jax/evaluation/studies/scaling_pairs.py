"""Pairs of great scale change, with depth: synthetic worlds, and those of a data set."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from rich.progress import track

from astr_jax.data.readers import BadFiles, PairArrays, PosedDataset
from astr_jax.data.stacking import stacked
from astr_jax.data.worlds import EXACT_TOLERANCE, WorldConfig, make_atlas, render_pairs
from astr_jax.images import padded
from astr_jax.supervision import DEPTH_TOLERANCE, depth_ground_truth

BATCH = 4  # pairs
TEXTURES, TEXTURE_SIDE = 64, 256  # photographs in the worlds, pixels
LEAST_SEEN = 0.05  # of the coarse cells, for a pair of a data set to count

Batch = dict[str, np.ndarray]


def world_batches(photos, config: WorldConfig, pairs: int, difficulty: float) -> Iterator[Batch]:
    """Yields batches of BATCH pairs, padded to sides that the model takes."""
    atlas = make_atlas(photos[:TEXTURES], side=TEXTURE_SIDE)
    canvas = canvas_of(config.size)
    keys = jax.random.split(jax.random.key(0), -(-pairs // BATCH))
    for key in track(keys, "matching worlds"):
        rendered = render_pairs(key, atlas, jnp.float32(difficulty), config=config, batch=BATCH)
        batch = {name: np.asarray(value) for name, value in rendered.items()}
        for i in "01":
            batch[f"mask{i}"] = np.ones(batch[f"image{i}"].shape, bool)
        maps = [f"{name}{i}" for name in ("image", "mask", "depth") for i in "01"]
        batch |= {name: np.asarray(padded(batch[name], canvas)) for name in maps}
        yield with_tolerance(batch, EXACT_TOLERANCE)


def find_pairs(
    dataset: PosedDataset, size: tuple[int, int], pairs: int, min_ratio: float, bad: BadFiles
) -> list[PairArrays]:
    """At most `pairs` pairs of a data set whose median scale ratio is min_ratio or more, either
    way, tried in a random order, the same each time; bad files are noted where they may be skipped.
    Raises ValueError where none is."""
    names = [(scene, k) for scene in dataset.scenes for k in range(len(dataset.pairs(scene)))]
    found = []
    for i in track(np.random.default_rng(0).permutation(len(names)), "looking for pairs"):
        scene, k = names[i]
        with bad.skipped():
            pair = dataset.load(dataset.pairs(scene)[k], canvas_of(size))
            ratio = pair_ratio(pair)
            if max(ratio, 1 / ratio) >= min_ratio:
                found.append(pair)
        if len(found) == pairs:
            break
    if not found:
        raise ValueError(
            f"none of the {len(names)} pairs has a scale ratio of {min_ratio:g}: lower --min-ratio."
        )
    return found


def posed_batches(pairs: list[PairArrays]) -> Iterator[Batch]:
    """Yields batches of BATCH pairs; the last is filled up with pairs in which nothing is seen."""
    unseen = pairs[-1]._replace(depth0=np.zeros_like(pairs[-1].depth0))
    for first in track(range(0, len(pairs), BATCH), "matching pairs"):
        batch = pairs[first : first + BATCH]
        batch += [unseen] * (BATCH - len(batch))
        yield with_tolerance(stacked(batch), DEPTH_TOLERANCE)


def pair_ratio(pair: PairArrays) -> float:
    """The median scale ratio of the coarse cells that both images see, above 1: larger in image 1;
    1 where they are too few to tell."""
    truth = _truth(pair.depth0, pair.depth1, pair.K0, pair.K1, pair.T_0to1)
    ratios = np.asarray(truth.ratio)[np.asarray(truth.visible)]
    enough = LEAST_SEEN * truth.ratio.size
    return float(np.median(ratios)) if len(ratios) >= enough else 1.0


def canvas_of(size: tuple[int, int]) -> tuple[int, int]:
    """The least sides that hold a picture of this size and that the model takes."""
    return tuple(-(-side // 32) * 32 for side in size)


def with_tolerance(batch: Batch, tolerance: float) -> Batch:
    """The batch, with the share of a depth by which depths that are seen may disagree."""
    return batch | {"depth_tolerance": np.full(len(batch["K0"]), tolerance, np.float32)}


_truth = jax.jit(depth_ground_truth)
