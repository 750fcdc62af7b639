"""What the spots hold.

On homographies of held-back photographs, for every spot-guided block: how many cells a spot has,
how often the true partner is among them (spot recall), and how much the sparse matching matrix
inflates: a key listed by one query alone has column probability 1, whatever its similarity.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from astr_jax.evaluation.studies.coarse_truth import coarse_with_truth
from astr_jax.ops.matching import log_prob_at
from astr_jax.params import Calibration, Params
from astr_jax.supervision import PairBatch
from pallas_kernels.arrays import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpotStatistics:
    """Of one block, over all pairs, from image 0 to image 1."""

    cells: float  # mean number of cells of the spots that this block's attention looks at
    recall: float  # share of true pairs of cells inside these spots
    listed_once: float  # share of listed keys that no other query lists
    inflation: float  # median of P here / P of the final features, at the true pairs that P holds


def spot_statistics(params: Params, batches: list[PairBatch]) -> list[SpotStatistics]:
    """Measures every block on batches of homography pairs, as HomographyPairs makes them."""
    own = params.replace(calibration=Calibration())  # the model's own temperature, as the blocks
    rows = [_measure(own, batch) for batch in batches]
    blocks = []
    for number in range(params.config.aggregation.blocks):
        parts = [jax.device_get(row[number]) for row in rows]
        ratio = np.concatenate([p["ratio"][p["held"]] for p in parts])
        blocks.append(
            SpotStatistics(
                cells=float(np.mean([p["cells"] for p in parts])),
                recall=float(np.mean([p["recall"] for p in parts])),
                listed_once=float(np.mean([p["listed_once"] for p in parts])),
                inflation=float(np.exp(np.median(ratio))) if len(ratio) else float("nan"),
            )
        )
    return blocks


def _measure_batch(params: Params, batch: PairBatch) -> list[dict[str, Array]]:
    _, _, coarse, truth = coarse_with_truth(params, batch)
    b, n = truth.cell1.shape
    true0 = jnp.where(truth.cell1 >= 0, jnp.broadcast_to(jnp.arange(n), (b, n)), -1)
    final, _ = jax.vmap(log_prob_at)(coarse.matrix, true0, truth.cell1)
    blocks = []
    for (forward, _), spots in zip(coarse.spot_matrices, coarse.spots, strict=True):
        cells = jax.vmap(lambda s: s.lists().cells)(spots[0])  # [b n s]
        listed = cells >= 0
        found = (cells == truth.cell1[..., None]) & (truth.cell1 >= 0)[..., None]
        times = jax.vmap(lambda c: jnp.zeros(n + 1, jnp.int32).at[c].add(1))(
            jnp.where(listed, cells, n).reshape(b, -1)
        )
        log_prob, held = jax.vmap(log_prob_at)(forward, true0, truth.cell1)
        blocks.append(
            {
                "cells": listed.sum(axis=-1).mean(),
                "recall": found.sum() / jnp.maximum((truth.cell1 >= 0).sum(), 1),
                "listed_once": (times[:, :n] == 1).sum() / jnp.maximum((times[:, :n] > 0).sum(), 1),
                "ratio": log_prob - final,
                "held": held,
            }
        )
    return blocks


_measure = jax.jit(_measure_batch)
