"""The coarse flow of a pair: where every cell of image 0 lies in image 1, and how surely."""

import jax
import numpy as np
from jaxtyping import Bool, Float

from astr_jax.geometry import enlarged_points
from astr_jax.matching import programs
from astr_jax.matching.candidates import Candidates
from astr_jax.matching.encoded import EncodedImage
from astr_jax.matching.matcher import Matcher, rows_of
from astr_jax.ops.grids import COARSE_STRIDE
from astr_jax.types import FlowMap


def flow_of(
    matcher: Matcher, image0: EncodedImage, image1: EncodedImage, *, refine: bool
) -> FlowMap:
    """The flow of one pair, at the images' own scale and as they lie.

    A model that regresses a flow gives its last block's. Of another, the coarse matches count, and
    cells without one have no flow. refine: the fine stage starts from there, a point a cell.
    """
    for image in (image0, image1):
        if image.prepared.batched:
            raise ValueError(f"{image.name} is a batch; flow takes one pair of images at a time.")
    view0, view1 = image0.at(), image1.at()
    maps, cells, count, flow = programs.run_flow(
        matcher.params,
        view0.features,
        view1.features,
        np.float32(matcher.threshold),
        rows=rows_of(view0, view1),
    )
    shape, width = image0.prepared.shape, view0.features.mask8.shape[2]
    points1, sigma, valid = (_own_cells(np.asarray(x)[0], shape, width) for x in flow)
    scales = [np.asarray(image.prepared.scale) for image in (image0, image1)]
    points1, sigma = enlarged_points(points1, image1.prepared.scale), sigma * scales[1]
    if refine:
        found = matcher.refine(Candidates(view0, view1, maps, cells, int(count), 1.0))
        found = jax.tree.map(np.asarray, found)[np.asarray(found.valid)]
        y, x = np.divmod(found.cell0, width)
        points1[y, x] = found.keypoints1
        sigma[y, x] = np.sqrt(np.diagonal(found.covariance, axis1=-2, axis2=-1))
    y, x = np.indices(valid.shape)
    centres0 = np.stack([x, y], axis=-1) * float(COARSE_STRIDE)
    points0 = enlarged_points(centres0, image0.prepared.scale)
    numbers = (np.asarray(v, np.float32) for v in (points0, points1, sigma))
    return FlowMap(*numbers, valid)


def _own_cells(
    x: Float[np.ndarray, "n ..."] | Bool[np.ndarray, " n"], shape: tuple[int, int], width: int
) -> np.ndarray:
    """Of the cells of a canvas those whose centres lie on the image: [n ...] -> [h w ...]."""
    h, w = (-(-side // COARSE_STRIDE) for side in shape)
    return x.reshape(-1, width, *x.shape[1:])[:h, :w].copy()
