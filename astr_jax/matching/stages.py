"""From two images to matches, stage by stage; for a batch of pairs, to be compiled.

    features0 = encode(params, images0, mask0)                     # maps at 1/32, 1/8 and 1/2
    features1 = encode(params, images1, mask1)
    coarse = aggregate(params, features0, features1)               # maps [b n c], [b m c]; P
    cells = pick(params, coarse, features0, features1, ...)        # cell0, cell1 [b k]
    ratio = scale_ratios(cells, features0, features1, K0, K1, estimator="pose")  # [b k]
    matches = refine(params, features0, features1, *coarse.maps, cells, ratio)  # [b k 2]

Everything is in pixels of the images as they come in: the working images.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from astr_jax.config import MatchingConfig
from astr_jax.model.astr import ASTR, coarse_matches
from astr_jax.ops.grids import COARSE_STRIDE, cell_centres
from astr_jax.ops.matching import DualSoftmax, dual_softmax
from astr_jax.ops.per_pair import per_pair
from astr_jax.ops.scaling import scale_ratio
from astr_jax.params import Params
from astr_jax.types import CoarseMatches, CoarseOutput, Features, FineMatches, Matches
from pallas_kernels.arrays import Array

FINE_AT_ONCE = 256  # matches of a step of the fine stage; on a CPU 1024 take twice the time
CELL_SIGMA = COARSE_STRIDE / 12**0.5  # standard deviation of a point within its cell, pixels


def encode(params: Params, images: Float[Array, "b h w"], mask: Bool[Array, "b h w"]) -> Features:
    """One backbone pass of grey images in [0, 1], whose sides are multiples of 32."""
    return ASTR(params.config).apply(params.variables, images[..., None], mask, method="encode")


def aggregate(params: Params, features0: Features, features1: Features) -> CoarseOutput:
    """What the two images know together, and P at the calibrated temperature."""
    model = ASTR(params.config)
    coarse = model.apply(params.variables, features0, features1, method="coarse")
    factor, given = params.calibration.temperature, (*coarse.maps, coarse.mask0, coarse.mask1)
    if factor == 1.0:
        return coarse
    return coarse.replace(matrix=matrix_of(params.config.matching, *given, factor))


def matrix_of(
    config: MatchingConfig,
    f0: Float[Array, "b n c"],
    f1: Float[Array, "b m c"],
    mask0: Bool[Array, "b n"],
    mask1: Bool[Array, "b m"],
    factor: float | Float[Array, ""],
) -> DualSoftmax:
    """P of aggregated maps at `factor` times the model's own temperature."""
    temperature = config.temperature * factor
    softmax = functools.partial(dual_softmax, temperature=temperature, block=config.block)
    return per_pair(softmax)(f0, f1, mask0, mask1)


def pick(
    params: Params,
    coarse: CoarseOutput,
    features0: Features,
    features1: Features,
    *,
    threshold: float | Float[Array, ""],
    capacity: int | None = None,
) -> CoarseMatches:
    """Mutual nearest cells above the threshold, sorted by confidence: `capacity` at most, all of
    them for None."""
    return coarse_matches(
        coarse,
        features0.mask8,
        features1.mask8,
        params.config,
        coarse.mask0.shape[1] if capacity is None else capacity,
        threshold=threshold,
    )


def scale_ratios(
    cells: CoarseMatches,
    features0: Features,
    features1: Features,
    K0: Float[Array, "b 3 3"],
    K1: Float[Array, "b 3 3"],
    *,
    estimator: str,
) -> Float[Array, "b k"]:
    """How much larger each match's surroundings look in image 1, by a named estimator.

    K0, K1: NaN where they are not known, which "pose" takes for a pose that it cannot trust.
    """
    points0, points1 = centres(cells, features0, features1)

    def of_pair(points0, points1, valid, K0, K1):
        key = jax.random.key(0)  # so that the same pair gives the same matches
        given = {"estimator": estimator, "K0": K0, "K1": K1, "cell": COARSE_STRIDE, "key": key}
        return scale_ratio(points0, points1, valid, **given)

    return jax.vmap(of_pair)(points0, points1, cells.valid, K0, K1)


def centres(
    cells: CoarseMatches, features0: Features, features1: Features
) -> tuple[Float[Array, "b k 2"], Float[Array, "b k 2"]]:
    """The centres of the matched cells."""
    width0, width1 = (features.mask8.shape[2] for features in (features0, features1))
    return (
        cell_centres(cells.cell0, width0, COARSE_STRIDE),
        cell_centres(cells.cell1, width1, COARSE_STRIDE),
    )


def refine(
    params: Params,
    features0: Features,
    features1: Features,
    context0: Float[Array, "b n c"],
    context1: Float[Array, "b m c"],
    cells: CoarseMatches,
    ratio: Float[Array, "b k"],
    *,
    scales: Float[Array, "2 2"] | None = None,
) -> Matches:
    """Sub-pixel matches, with crops scaled by the ratio (docs/paper.md §6 and §7).

    context0, context1: the aggregated maps. scales: given / working size of both images, (x, y),
    where points and sigma are wanted in pixels of the images as given.
    """
    model = ASTR(params.config)

    def some(cells, ratio):
        given = features0, features1, context0, context1, cells, ratio
        return model.apply(params.variables, *given, method="fine")

    fine = _in_chunks(some, cells, ratio)
    points0, points1, sigma = fine.points0, fine.points1, fine.sigma
    sigma = sigma * params.calibration.sigma_factor
    if scales is not None:
        points0, points1 = (
            (p + 0.5) * s[None, None] - 0.5 for p, s in zip((points0, points1), scales, strict=True)
        )
        sigma = sigma * jnp.sqrt(scales[1].prod())
    return _as_matches(cells, points0, points1, sigma, ratio)


def unrefined(cells: CoarseMatches, features0: Features, features1: Features) -> Matches:
    """The coarse matches as they are: points are the centres of their cells."""
    points0, points1 = centres(cells, features0, features1)
    ones = jnp.ones(cells.valid.shape)
    return _as_matches(cells, points0, points1, CELL_SIGMA * ones, ones)


def _as_matches(cells: CoarseMatches, points0, points1, sigma, ratio) -> Matches:
    """Rows that are not valid hold zeros and -1."""
    valid = cells.valid

    def kept(x, empty=0):
        return jnp.where(valid.reshape(valid.shape + (1,) * (x.ndim - 2)), x, empty)

    return Matches(
        keypoints0=kept(points0),
        keypoints1=kept(points1),
        confidence=kept(cells.confidence),
        sigma=kept(sigma),
        scale=kept(ratio),
        cell0=kept(cells.cell0, -1),
        cell1=kept(cells.cell1, -1),
        valid=valid,
    )


def _in_chunks(refine_some, cells: CoarseMatches, ratio: Float[Array, "b k"]) -> FineMatches:
    """Refines a few matches at a time, so that memory does not grow with their number, and none
    where none of them is valid: the time grows with the matches, not with the capacity."""
    b, k = ratio.shape
    size = min(FINE_AT_ONCE, k)
    steps = -(-k // size)

    def split(x: Array, fill: Array | float) -> Array:
        if steps * size > k:
            x = jnp.pad(x, ((0, 0), (0, steps * size - k)), constant_values=fill)
        return x.reshape(b, steps, size).swapaxes(0, 1)

    chunks = jax.tree.map(split, (cells, ratio), (CoarseMatches(-1, -1, 0.0, False), 1.0))

    def nothing(*chunk):
        return jax.tree.map(
            lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(refine_some, *chunk)
        )

    fine = jax.lax.map(
        lambda chunk: jax.lax.cond(chunk[0].valid.any(), refine_some, nothing, *chunk), chunks
    )
    return jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(b, -1, *x.shape[3:])[:, :k], fine)
