"""What adaptive scaling gains where the scale changes.

The same coarse matches are refined three times: with scaling off (ratio 1), on (the estimated
ratio) and, as a bound, with the true ratio. Matches whose point is hidden in image 1 are left out.
"""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from rich.table import Table

from astr_jax.evaluation.studies.coarse_truth import coarse_with_truth
from astr_jax.matching import stages
from astr_jax.ops.grids import COARSE_STRIDE
from astr_jax.ops.scaling import EXTREME
from astr_jax.params import Params
from astr_jax.supervision import PairBatch
from astr_jax.types import CoarseMatches
from pallas_kernels.arrays import Array

WAYS = ("off", "on", "true")  # ratio 1, the estimated one, the true one
EDGES = (1.0, 1.5, 2.0, 3.0, np.inf)  # of the bins of true ratios, the larger by the smaller side
WITHIN = (1.0, 3.0, 5.0)  # pixels of image 1
MOST_MATCHES = 512  # of a pair, the most confident
RESAMPLES = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class RefinedMatches:
    """All matches whose true place in image 1 is seen, of all pairs."""

    pair: np.ndarray  # [k] number of the pair
    ratio: Float[np.ndarray, " k"]  # the true one; above 1: larger in image 1
    estimate: Float[np.ndarray, " k"]
    coarse: Float[np.ndarray, " k"]  # error of the cell's centre, pixels of image 1
    errors: dict[str, Float[np.ndarray, " k"]]  # pixels of image 1, for each of WAYS


def refine(params: Params, batches, *, estimator: str, cells: str = "found") -> RefinedMatches:
    """Matches all pairs and refines the matches in each of WAYS.

    cells: those "found", or the "true" ones.
    """
    options = {"estimator": estimator, "cells": cells}
    found = [jax.device_get(_refine(params, batch, **options)) for batch in batches]
    known = np.concatenate([f["known"] for f in found])

    def kept(name):
        return np.concatenate([f[name] for f in found])[known]

    return RefinedMatches(
        pair=np.nonzero(known)[0],
        ratio=kept("ratio"),
        estimate=kept("estimate"),
        coarse=kept("coarse"),
        errors={way: kept(way) for way in WAYS},
    )


def true_matches(cell1: Int[Array, "b n"]) -> CoarseMatches:
    """At most MOST_MATCHES of the cells that have a true partner, drawn at random."""
    chance = jax.random.uniform(jax.random.key(1), cell1.shape)
    with_partner_first = jnp.where(cell1 >= 0, chance + 1, chance)
    _, cell0 = jax.lax.top_k(with_partner_first, min(MOST_MATCHES, cell1.shape[1]))
    partner = jnp.take_along_axis(cell1, cell0, axis=1)
    valid = partner >= 0
    return CoarseMatches(
        cell0=jnp.where(valid, cell0, -1),
        cell1=partner,
        confidence=valid.astype(jnp.float32),
        valid=valid,
    )


@functools.partial(jax.jit, static_argnames=("estimator", "cells"))
def _refine(params: Params, batch: PairBatch, *, estimator: str, cells: str) -> dict[str, Array]:
    """Per match [b k]: whether its truth is known, the two ratios, and the error in each way."""
    features0, features1, coarse, truth = coarse_with_truth(params, batch)
    if cells == "true":
        matches = true_matches(truth.cell1)
    else:
        limits = {"threshold": params.calibration.threshold, "capacity": MOST_MATCHES}
        matches = stages.pick(params, coarse, features0, features1, **limits)
    at = jax.vmap(lambda values, cells: values[jnp.maximum(cells, 0)])
    known = matches.valid & at(truth.visible, matches.cell0)
    true_ratio = jnp.clip(at(truth.ratio, matches.cell0), 1 / EXTREME, EXTREME)
    cameras = {"K0": batch.truth.K0, "K1": batch.truth.K1, "estimator": estimator}
    estimate = stages.scale_ratios(matches, features0, features1, **cameras)
    ratios = {"off": jnp.ones_like(estimate), "on": estimate, "true": true_ratio}
    found = {"known": known, "ratio": true_ratio, "estimate": estimate}
    true1 = at(truth.points1, matches.cell0)
    for way, ratio in ratios.items():
        refined = stages.refine(params, features0, features1, *coarse.maps, matches, ratio)
        found[way] = jnp.linalg.norm(refined.keypoints1 - true1, axis=-1)
    _, centres1 = stages.centres(matches, features0, features1)
    return found | {"coarse": jnp.linalg.norm(centres1 - true1, axis=-1)}


def summary(matches: RefinedMatches, chosen: Bool[np.ndarray, " k"]) -> dict:
    """Scores of some of the matches, and what scaling changes in their median error, with the 95 %
    interval of the bootstrap over pairs, whose matches are not independent."""
    pair = matches.pair[chosen]
    errors = {way: matches.errors[way][chosen] for way in WAYS}
    pairs = np.unique(pair)
    row = {"matches": len(pair), "pairs": len(pairs)}
    if not len(pair):
        return row
    row["median"] = {way: float(np.median(e)) for way, e in errors.items()}
    for limit in WITHIN:
        row[f"within_{limit:g}"] = {way: float((e <= limit).mean()) for way, e in errors.items()}
    row["ratio_error"] = float(
        np.exp(np.median(np.abs(np.log(matches.estimate / matches.ratio)[chosen])))
    )
    row["difference"] = row["median"]["on"] - row["median"]["off"]
    of_pair = [[errors[way][pair == p] for p in pairs] for way in ("on", "off")]
    rng, differences = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        drawn = rng.integers(0, len(pairs), len(pairs))
        on, off = (np.median(np.concatenate([rows[i] for i in drawn])) for rows in of_pair)
        differences.append(on - off)
    row["interval"] = [float(x) for x in np.quantile(differences, [0.025, 0.975])]
    return row


def summaries(matches: RefinedMatches) -> list[dict]:
    """Rows of the table: all matches, those of the right cell, and by the true ratio and side."""
    larger = matches.ratio >= 1
    change = np.where(larger, matches.ratio, 1 / matches.ratio)
    # Scaling cannot mend a match of the wrong cells.
    right = matches.coarse <= COARSE_STRIDE
    rows = [
        {"ratio": "all", "image1": "both", **summary(matches, change >= 1)},
        {"ratio": "all", "image1": "right cell", **summary(matches, right)},
    ]
    for low, high in itertools.pairwise(EDGES):
        name = f"{low:g} - {high:g}" if high < np.inf else f"over {low:g}"
        for side, on_side in (("larger", larger), ("smaller", ~larger)):
            inside = on_side & (change >= low) & (change < high)
            rows.append({"ratio": name, "image1": side, **summary(matches, inside)})
    return rows


def table_of(rows: list[dict], title: str) -> Table:
    table = Table(title=title, caption="off / on / with the true ratio; on - off: 95 % interval")
    names = ["true ratio", "in image 1", "matches", "pairs", "ratio off by", "median error, px"]
    names += [f"within {limit:g} px" for limit in WITHIN] + ["on - off, px"]
    for name in names:
        table.add_column(name, justify="right")
    for row in rows:
        cells = [row["ratio"], row["image1"], str(row["matches"]), str(row["pairs"])]
        if row["matches"]:
            low, high = row["interval"]
            cells.append(f"x {row['ratio_error']:.2f}")
            cells.append(" / ".join(f"{row['median'][way]:.2f}" for way in WAYS))
            cells += [
                " / ".join(f"{100 * row[f'within_{limit:g}'][way]:.0f}" for way in WAYS) + " %"
                for limit in WITHIN
            ]
            cells.append(f"{row['difference']:+.2f} [{low:+.2f}, {high:+.2f}]")
        table.add_row(*cells)
    return table
