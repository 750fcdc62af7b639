"""The compiled programs of a match: encode an image, match coarsely, refine.

Features of every image have the maps of the square canvas, whatever its own, so that any two
images meet in one of few programs; what lies beyond an image is masked.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from astr_jax.matching import stages
from astr_jax.matching.canvases import to_rows
from astr_jax.matching.coarse_flow import coarse_flow
from astr_jax.matching.scales import POWER
from astr_jax.ops.agreement import agreement
from astr_jax.ops.matching import DualSoftmax
from astr_jax.ops.neighbourhoods import log_confidence_at
from astr_jax.ops.per_pair import per_pair
from astr_jax.ops.scaling import nearest_valid
from astr_jax.params import Params
from astr_jax.types import CoarseMatches, CoarseOutput, Features, Matches
from pallas_kernels.arrays import Array

Maps = tuple[Float[Array, "b n c"], Float[Array, "b m c"]]  # the aggregated features of a pair


@functools.partial(jax.jit, static_argnames="square")
def run_encode(
    params: Params,
    pixels: Float[Array, "b h w"],
    mask: Bool[Array, "b h w"],
    *,
    square: tuple[int, int],
) -> Features:
    """Encodes at the canvas of the input; the maps come out padded to the square canvas."""
    features = stages.encode(params, pixels, mask)
    fine = square[0] // params.config.backbone.fine_stride
    return _with_rows(features, square[0]).replace(
        fine=to_rows(features.fine, fine), fine_mask=to_rows(features.fine_mask, fine)
    )


@functools.partial(jax.jit, static_argnames="rows")
def run_coarse(
    params: Params,
    features0: Features,
    features1: Features,
    threshold: Float[Array, ""],
    *,
    rows: tuple[int, int],
) -> tuple[Maps, CoarseMatches, Int[Array, ""]]:
    """Matches coarsely on the upper `rows` pixels of either image; returns the aggregated maps and
    the matches, padded to all cells of the square canvases, and the largest number of matches of a
    pair."""
    upper0, upper1 = _with_rows(features0, rows[0]), _with_rows(features1, rows[1])
    coarse = stages.aggregate(params, upper0, upper1)
    cells = stages.pick(params, coarse, upper0, upper1, threshold=threshold)
    return _on_squares(coarse, cells, features0, features1)


def _on_squares(
    coarse: CoarseOutput, cells: CoarseMatches, features0: Features, features1: Features
) -> tuple[Maps, CoarseMatches, Int[Array, ""]]:
    """Maps and matches, padded to all cells of the square canvases, and the largest number of
    matches of a pair."""
    whole0, whole1 = (features.mask8[0].size for features in (features0, features1))
    map0, map1 = coarse.maps
    cells = jax.tree.map(lambda x: to_rows(x, whole0), cells)
    return (to_rows(map0, whole0), to_rows(map1, whole1)), cells, cells.valid.sum(axis=1).max()


@functools.partial(jax.jit, static_argnames="rows")
def run_flow(
    params: Params,
    features0: Features,
    features1: Features,
    threshold: Float[Array, ""],
    *,
    rows: tuple[int, int],
) -> tuple:
    """The coarse flow on the upper `rows` pixels of either image, as coarse_flow has it; maps
    and cells are padded as those of run_coarse, and so is the flow."""
    upper0, upper1 = _with_rows(features0, rows[0]), _with_rows(features1, rows[1])
    coarse = stages.aggregate(params, upper0, upper1)
    cells, *flow = coarse_flow(params, coarse, upper0, upper1, threshold=threshold)
    whole = features0.mask8[0].size
    flow = tuple(to_rows(x, whole) for x in flow)
    return (*_on_squares(coarse, cells, features0, features1), flow)


@functools.partial(jax.jit, static_argnames="rows")
def run_look(
    params: Params, features0: Features, features1: Features, *, rows: tuple[int, int]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """How sure the coarse matches of one pair are: the sum of a power of their confidences; and
    how well they agree: the same of those that keep together with their neighbours, a cell."""
    upper0, upper1 = _with_rows(features0, rows[0]), _with_rows(features1, rows[1])
    coarse = stages.aggregate(params, upper0, upper1)
    cells = stages.pick(params, coarse, upper0, upper1, threshold=0.0)
    sure = jnp.where(cells.valid, cells.confidence, 0.0) ** POWER
    grid0, width1 = upper0.mask8.shape[1:], upper1.mask8.shape[2]
    agreeing = agreement(cells.cell0[0], cells.cell1[0], sure[0], grid0=grid0, width1=width1)
    usable = jnp.minimum(upper0.mask8.sum(), upper1.mask8.sum()).astype(sure.dtype)
    return sure.sum(), (sure[0] * agreeing).sum() / jnp.maximum(usable, 1.0)


@functools.partial(jax.jit, static_argnames=("capacity", "estimator"))
def run_fine(
    params: Params,
    features0: Features,
    features1: Features,
    maps: Maps,
    cells: CoarseMatches,
    K0: Float[Array, "b 3 3"],
    K1: Float[Array, "b 3 3"],
    scales: Float[Array, "2 2"],
    max_matches: Int[Array, ""],
    ratio: Float[Array, "b k"] | None = None,
    *,
    capacity: int,
    estimator: str,
) -> Matches:
    """Adaptive scaling, or the given ratios, and fine matching of the first `capacity` matches; in
    pixels of the images as given."""
    cells = jax.tree.map(lambda x: to_rows(x, capacity), cells)
    if ratio is None:
        cameras = {"K0": K0, "K1": K1, "estimator": estimator}
        ratio = stages.scale_ratios(cells, features0, features1, **cameras)
    # Cut after the ratios: they are fits to all coarse matches, whatever is asked for.
    valid = cells.valid & (jnp.arange(capacity) < max_matches)[None]
    cells = cells.replace(valid=valid)
    return stages.refine(params, features0, features1, *maps, cells, ratio, scales=scales)


@functools.partial(jax.jit, static_argnames=("rows", "capacity", "estimator"))
def run_at_points(
    params: Params,
    features0: Features,
    features1: Features,
    maps: Maps,
    cells: CoarseMatches,
    points0: Float[Array, "b k 2"],
    threshold: Float[Array, ""],
    K0: Float[Array, "b 3 3"],
    K1: Float[Array, "b 3 3"],
    scales: Float[Array, "2 2"],
    *,
    rows: tuple[int, int],
    capacity: int,
    estimator: str,
) -> Matches:
    """Where points of image 0, in its working pixels, lie in image 1; in pixels as given.

    cells: the mutual matches, of which the first `capacity` tell the scale ratios.
    """
    cells = jax.tree.map(lambda x: to_rows(x, capacity), cells)
    ratios = stages.scale_ratios(cells, features0, features1, K0, K1, estimator=estimator)
    centres0, _ = stages.centres(cells, features0, features1)
    nearest = per_pair(nearest_valid)(points0, centres0, cells.valid)
    ratio = jnp.where(nearest >= 0, jnp.take_along_axis(ratios, nearest, axis=1), 1.0)
    upper0, upper1 = _with_rows(features0, rows[0]), _with_rows(features1, rows[1])
    matrix = _matrix(params, upper0, upper1, maps, params.calibration.temperature)
    found = stages.at_points(params, matrix, upper0, upper1, points0, threshold=threshold)
    given = features0, features1, *maps, found, ratio
    return stages.refine(params, *given, points0=points0, scales=scales)


run_polish = jax.jit(stages.polish)


def _matrix(params: Params, upper0: Features, upper1: Features, maps: Maps, factor) -> DualSoftmax:
    """P of the upper rows, at a factor of the model's own temperature."""
    masks = [features.mask8.reshape(features.mask8.shape[0], -1) for features in (upper0, upper1)]
    f0, f1 = (to_rows(x, mask.shape[1]) for x, mask in zip(maps, masks, strict=True))
    return stages.matrix_of(params.config.matching, f0, f1, *masks, factor)


@functools.partial(jax.jit, static_argnames="rows")
def run_log_confidences(
    params: Params,
    features0: Features,
    features1: Features,
    maps: Maps,
    cells: CoarseMatches,
    factors: Float[Array, " t"],
    *,
    rows: tuple[int, int],
) -> Float[Array, "t b k"]:
    """log of the confidence of matches on the upper `rows` pixels, at factors of the model's own
    temperature."""
    upper = [_with_rows(f, r) for f, r in zip((features0, features1), rows, strict=True)]
    reach, grids = params.config.matching.reach, [x.mask8.shape[1:] for x in upper]

    def of_pair(matrix, cells):
        return log_confidence_at(matrix, cells.cell0, cells.cell1, *grids, reach=reach)

    def at(factor):
        return per_pair(of_pair)(_matrix(params, *upper, maps, factor), cells)

    return jax.lax.map(at, factors)


def _with_rows(features: Features, rows: int) -> Features:
    """The features with coarse maps of so many rows of pixels; the fine map stays."""
    return features.replace(
        coarse32=to_rows(features.coarse32, rows // 32),
        mask32=to_rows(features.mask32, rows // 32),
        coarse8=to_rows(features.coarse8, rows // 8),
        mask8=to_rows(features.mask8, rows // 8),
    )
