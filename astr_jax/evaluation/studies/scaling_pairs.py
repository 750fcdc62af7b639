"""Pairs of great scale change, with depth: synthetic worlds, and those of a data set."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from rich.progress import track

from astr_jax.data.readers import BadFiles, PosedDataset
from astr_jax.data.stacking import stacked
from astr_jax.data.worlds import WorldConfig, make_atlas, render_pairs
from astr_jax.images import padded
from astr_jax.supervision import DepthTruth, PairBatch

BATCH = 4  # pairs
TEXTURES, TEXTURE_SIDE = 64, 256  # photographs in the worlds, pixels
LEAST_SEEN = 0.05  # of the coarse cells, for a pair of a data set to count


def world_batches(
    photos, config: WorldConfig, pairs: int, difficulty: float
) -> Iterator[PairBatch]:
    """Yields batches of BATCH pairs, padded to sides that the model takes."""
    atlas = make_atlas(photos[:TEXTURES], side=TEXTURE_SIDE)
    canvas = padded_size(config.size)
    keys = jax.random.split(jax.random.key(0), -(-pairs // BATCH))

    def on_canvas(x) -> np.ndarray:
        return padded(np.asarray(x), canvas)

    for key in track(keys, "matching worlds"):
        rendered, _ = render_pairs(key, atlas, jnp.float32(difficulty), config=config, batch=BATCH)
        depth0, depth1 = on_canvas(rendered.truth.depth0), on_canvas(rendered.truth.depth1)
        images = on_canvas(rendered.image0), on_canvas(rendered.image1)
        masks = map(on_canvas, rendered.masks)
        yield PairBatch(*images, *masks, rendered.truth.replace(depth0=depth0, depth1=depth1))


def find_pairs(
    dataset: PosedDataset, size: tuple[int, int], pairs: int, min_ratio: float, bad: BadFiles
) -> list[PairBatch]:
    """At most `pairs` pairs of a data set whose median scale ratio is min_ratio or more, either
    way, tried in a random order, the same each time; bad files are noted where they may be skipped.
    Raises ValueError where none is."""
    names = [(scene, k) for scene in dataset.scenes for k in range(len(dataset.pairs(scene)))]
    found = []
    for i in track(np.random.default_rng(0).permutation(len(names)), "looking for pairs"):
        scene, k = names[i]
        with bad.skipped():
            pair = dataset.load(dataset.pairs(scene)[k], padded_size(size))
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


def posed_batches(pairs: list[PairBatch]) -> Iterator[PairBatch]:
    """Yields batches of BATCH pairs; the last is filled up with pairs in which nothing is seen."""
    last = pairs[-1].truth
    unseen = pairs[-1].replace(truth=last.replace(depth0=np.zeros_like(last.depth0)))
    for first in track(range(0, len(pairs), BATCH), "matching pairs"):
        batch = pairs[first : first + BATCH]
        batch += [unseen] * (BATCH - len(batch))
        yield stacked(batch)


def pair_ratio(pair: PairBatch) -> float:
    """The median scale ratio of the coarse cells that both images see, above 1: larger in image 1;
    1 where they are too few to tell."""
    truth = _ground_truth(pair.truth)
    ratios = np.asarray(truth.ratio)[np.asarray(truth.visible)]
    enough = LEAST_SEEN * truth.ratio.size
    return float(np.median(ratios)) if len(ratios) >= enough else 1.0


def padded_size(size: tuple[int, int]) -> tuple[int, int]:
    """The least sides that hold a picture of this size and that the model takes."""
    return tuple(-(-side // 32) * 32 for side in size)


_ground_truth = jax.jit(DepthTruth.ground_truth)
