"""From two images to matches, stage by stage; for a batch of pairs, to be compiled.

    features0 = encode(params, images0, mask0)                     # maps at 1/32, 1/8 and 1/2
    features1 = encode(params, images1, mask1)
    coarse = aggregate(params, features0, features1)               # maps [b n c], [b m c]; P
    cells = pick(params, coarse, features0, features1, ...)        # cell0, cell1 [b k]
    ratio = scale_ratios(cells, features0, features1, K0, K1, estimator="pose")  # [b k]
    matches = refine(params, features0, features1, *coarse.maps, cells, ratio)  # [b k 2]
    fitted = polish(images0, images1, mask0, mask1, matches.keypoints0, ...)  # [b k 2]

Everything is in pixels of the images as they come in: the working images.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from astr_jax.config import MatchingConfig
from astr_jax.model.astr import coarse_matches
from astr_jax.model.fine import in_steps
from astr_jax.models.kinds import network
from astr_jax.ops.grids import COARSE_STRIDE, cell_centres, nearest_cells
from astr_jax.ops.least_squares_matching import Fitted, fit_patches
from astr_jax.ops.local_affine import MatchGrid, is_mild, local_affine
from astr_jax.ops.matching import DualSoftmax, best_matches, dual_softmax
from astr_jax.ops.neighbourhoods import log_confidence_at
from astr_jax.ops.per_pair import per_pair
from astr_jax.ops.scaling import scale_ratio
from astr_jax.params import Params
from astr_jax.types import CoarseMatches, CoarseOutput, Features, Matches
from pallas_kernels.arrays import Array

FINE_AT_ONCE = 256  # matches of a step of the fine stage; on a CPU 1024 take twice the time
CELL_SIGMA = COARSE_STRIDE / 12**0.5  # standard deviation of a point within its cell, pixels


def encode(params: Params, images: Float[Array, "b h w"], mask: Bool[Array, "b h w"]) -> Features:
    """One backbone pass of grey images in [0, 1], whose sides are multiples of 32."""
    model = network(params.config)
    return model.apply(params.variables, images[..., None], mask, method="encode")


def aggregate(params: Params, features0: Features, features1: Features) -> CoarseOutput:
    """What the two images know together, and P at the calibrated temperature."""
    model = network(params.config)
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
    grid = features0.mask8.shape[1:]

    def of_pair(points0, points1, valid, K0, K1):
        key = jax.random.key(0)  # so that the same pair gives the same matches
        cameras = {"estimator": estimator, "K0": K0, "K1": K1, "key": key}
        return scale_ratio(points0, points1, valid, grid=grid, cell=COARSE_STRIDE, **cameras)

    return per_pair(of_pair)(points0, points1, cells.valid, K0, K1)


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
    points0: Float[Array, "b k 2"] | None = None,
    scales: Float[Array, "2 2"] | None = None,
) -> Matches:
    """Sub-pixel matches, with crops scaled by the ratio (docs/paper.md §6 and §7).

    context0, context1: the aggregated maps. points0: where in its cell each point of image 0 lies;
    None: at the centre. scales: given / working size of both images, (x, y), where points and
    covariance are wanted in pixels of the images as given.
    """
    model, zooms = network(params.config), params.config.fine.zooms

    def some(points0, points1, ratio):
        def step(points1, zoom):
            given = features0, features1, context0, context1, points0, points1, ratio, zoom
            return model.apply(params.variables, *given, method="fine")

        last = jax.tree.map(lambda x: x[-1], in_steps(step, points1, zooms))
        return last.points1, last.covariance

    centres0, points1 = centres(cells, features0, features1)
    if points0 is None:
        points0 = centres0
    else:
        points1 = points1 + ratio[..., None] * (points0 - centres0)
    points1, covariance = _in_chunks(some, cells.valid, points0, points1, ratio)
    covariance = covariance * params.calibration.sigma_factor**2
    if scales is not None:
        points0, points1 = (
            (p + 0.5) * s[None, None] - 0.5 for p, s in zip((points0, points1), scales, strict=True)
        )
        covariance = covariance * (scales[1][:, None] * scales[1][None])[None, None]
    return _as_matches(cells, points0, points1, covariance, ratio)


def at_points(
    params: Params,
    matrix: DualSoftmax,
    features0: Features,
    features1: Features,
    points0: Float[Array, "b k 2"],
    *,
    threshold: float | Float[Array, ""],
) -> CoarseMatches:
    """The cell of image 1 that each point of image 0 is most probably in, in the order given.

    Points outside the image, and those under the threshold, are not valid. A match need not be
    mutual: the confidence falls where other cells of image 0 claim the same place.
    """
    reach, grid1 = params.config.matching.reach, features1.mask8.shape[1:]

    def of_pair(matrix, mask0, points0):
        cell0 = nearest_cells(points0, mask0.shape, COARSE_STRIDE)
        best0, _ = best_matches(matrix)
        cell1 = jnp.where(cell0 >= 0, best0.cell[jnp.maximum(cell0, 0)], -1)
        given = matrix, cell0, cell1, mask0.shape, grid1
        confidence = jnp.exp(log_confidence_at(*given, reach=reach))
        valid = (cell0 >= 0) & (cell1 >= 0) & (confidence > threshold)
        return CoarseMatches(cell0, cell1, confidence, valid)

    return per_pair(of_pair)(matrix, features0.mask8, points0)


def polish(
    images0: Float[Array, "b h w"],
    images1: Float[Array, "b h1 w1"],
    mask0: Bool[Array, "b h w"],
    mask1: Bool[Array, "b h1 w1"],
    points0: Float[Array, "b k 2"],
    points1: Float[Array, "b k 2"],
    scale: Float[Array, "b k"],
    valid: Bool[Array, "b k"],
) -> Fitted:
    """Least-squares matching of sub-pixel matches, at any scales and turns of the two images; not
    in the paper. Each starts from the affine map of its neighbours, else from its scale."""
    grid = tuple(-(-side // COARSE_STRIDE) for side in images0.shape[1:])

    def of_pair(image0, image1, mask0, mask1, points0, points1, scale, valid):
        matches = MatchGrid.of(points0, valid, grid=grid, cell=COARSE_STRIDE)
        affine, known = local_affine(points0, points1, valid, matches)
        affine = jnp.where(
            (known & is_mild(affine))[:, None, None],
            affine,
            scale[:, None, None] * jnp.eye(2)[None],
        )
        return fit_patches(image0, image1, mask0, mask1, points0, points1, affine, valid)

    given = images0, images1, mask0, mask1, points0, points1, scale, valid
    return per_pair(of_pair)(*given)


def unrefined(cells: CoarseMatches, features0: Features, features1: Features) -> Matches:
    """The coarse matches as they are: points are the centres of their cells."""
    points0, points1 = centres(cells, features0, features1)
    ratio = jnp.ones(cells.valid.shape)
    covariance = CELL_SIGMA**2 * jnp.broadcast_to(jnp.eye(2), (*ratio.shape, 2, 2))
    return _as_matches(cells, points0, points1, covariance, ratio)


def _as_matches(cells: CoarseMatches, points0, points1, covariance, ratio) -> Matches:
    """Rows that are not valid hold zeros and -1."""
    valid = cells.valid

    def kept(x, empty=0):
        return jnp.where(valid.reshape(valid.shape + (1,) * (x.ndim - 2)), x, empty)

    return Matches(
        keypoints0=kept(points0),
        keypoints1=kept(points1),
        confidence=kept(cells.confidence),
        covariance=kept(covariance),
        scale=kept(ratio),
        cell0=kept(cells.cell0, -1),
        cell1=kept(cells.cell1, -1),
        valid=valid,
    )


def _in_chunks(refine_some, valid: Bool[Array, "b k"], *rows: Float[Array, "b k ..."]):
    """Refines a few matches at a time, so that memory does not grow with their number, and none
    where none of them is valid: the time grows with the matches, not with the capacity."""
    b, k = valid.shape
    size = min(FINE_AT_ONCE, k)
    steps = -(-k // size)

    def split(x: Array) -> Array:
        x = jnp.pad(x, [(0, steps * size - k if axis == 1 else 0) for axis in range(x.ndim)])
        return x.reshape(b, steps, size, *x.shape[2:]).swapaxes(0, 1)

    def nothing(*chunk):
        return jax.tree.map(
            lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(refine_some, *chunk)
        )

    def one(chunk):
        valid, *rows = chunk
        return jax.lax.cond(valid.any(), refine_some, nothing, *rows)

    fine = jax.lax.map(one, tuple(map(split, (valid, *rows))))
    return jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(b, -1, *x.shape[3:])[:, :k], fine)
