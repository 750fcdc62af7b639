"""The matcher: weights and options, and what leads from two images to their matches."""

import dataclasses
from collections.abc import Sequence
from typing import no_type_check

import jax
import numpy as np
from jaxtyping import Float

from astr_jax.geometry import shrunk_intrinsics, shrunk_points, turned_camera
from astr_jax.images import Prepared, padded, prepare
from astr_jax.matching import programs
from astr_jax.matching.canvases import canvas_of, canvases, capacity_for
from astr_jax.matching.encoded import EncodedImage, TurnedView
from astr_jax.matching.options import MatchOptions
from astr_jax.matching.turns import TURNS, matches_turned_back
from astr_jax.ops.grids import COARSE_STRIDE
from astr_jax.params import Params
from astr_jax.types import CoarseMatches, Features, Matches
from pallas_kernels.arrays import Array

ALL = 2**30  # matches: more than there are


@dataclasses.dataclass(frozen=True)
class Candidates:
    """The coarse matches of a pair, before they are refined."""

    view0: TurnedView
    view1: TurnedView  # at the turn that was chosen
    maps: programs.Maps  # aggregated features [b n c], [b m c] of the square canvas
    cells: CoarseMatches  # [b n], sorted by confidence
    count: int  # the largest number of matches of a pair


class Matcher:
    """Matches pairs of images by one set of weights and one choice of options.

        matcher = Matcher(params, MatchOptions(resize=832))
        image0, image1 = matcher.encode("left.jpg"), matcher.encode("right.jpg")
        matches = matcher.match(image0, image1)

    A folder of any sizes runs through at most six compiled programs at one `resize`. Raises
    ValueError where params are none.
    """

    @no_type_check
    def __init__(self, params: Params, options: MatchOptions | None = None):
        if not isinstance(params, Params):
            raise ValueError(f"params must come from astr_jax.load(); got {type(params).__name__}.")
        self.params, self.options = params, options or MatchOptions()
        own = params.calibration.threshold
        self.threshold = own if self.options.threshold is None else self.options.threshold
        self.turns = TURNS[:1] if self.options.upright else TURNS

    def encode(self, image, mask=None, *, name: str = "image") -> EncodedImage:
        """Reads an image or a batch, and checks it; its backbone pass follows at the first match.

        image, mask: as in `astr_jax.match`. name: what errors call it.
        """
        prepared = prepare(image, mask, resize=self.options.resize, name=name)
        return EncodedImage(prepared, self._features, name)

    def match(
        self,
        image0: EncodedImage,
        image1: EncodedImage,
        K0=None,
        K1=None,
        *,
        keypoints0=None,
    ) -> Matches:
        """Matches in pixels of the images as given, sorted by confidence, padded.

        K0, K1: intrinsics [3 3] (of batches also [b 3 3]) in pixels of the images as given.
        keypoints0: as in at_points, whose rows are returned then.
        """
        self.options.estimator_for(K0, K1)  # bad cameras are refused before the work
        working_intrinsics(K0, image0.prepared, "K0")
        working_intrinsics(K1, image1.prepared, "K1")
        if keypoints0 is None:
            return self.refine(self.candidates(image0, image1), K0, K1)
        working_points(keypoints0, image0.prepared)
        return self.at_points(self.candidates(image0, image1), keypoints0, K0, K1)

    def candidates(self, image0: EncodedImage, image1: EncodedImage) -> Candidates:
        """The coarse matches; with upright=False those of the turn with the surest ones."""
        if image1.prepared.batched and len(self.turns) > 1:
            raise ValueError(
                f"{image1.name} is a batch, and each image of it may lie differently; "
                "upright=False takes one pair at a time. match_pairs takes many."
            )
        found = [self._candidates(image0.at(0), image1.at(turn)) for turn in self.turns]
        if len(found) == 1:
            return found[0]
        sure = [float((c.cells.confidence * c.cells.valid).sum()) for c in found]
        return found[int(np.argmax(sure))]

    def refine(
        self,
        candidates: Candidates,
        K0=None,
        K1=None,
        *,
        ratio: float | Float[Array | np.ndarray, "b k"] | None = None,
    ) -> Matches:
        """Sub-pixel matches of coarse ones, as match returns them.

        ratio: how much larger things look in image 1, instead of an estimate: one number, or one
        for each row of candidates.cells.
        """
        estimator = self.options.estimator_for(K0, K1)
        (prepared0, features0), (prepared1, features1) = candidates.view0, candidates.view1
        cells = candidates.cells
        capacity = capacity_for(candidates.count, cells.cell0.shape[1])
        most = min(self.options.max_matches or ALL, capacity)
        if ratio is not None:
            ratio = np.broadcast_to(np.float32(ratio), cells.cell0.shape)
            beyond = max(0, capacity - ratio.shape[1])
            ratio = np.pad(ratio[:, :capacity], ((0, 0), (0, beyond)), constant_values=1)
        found = programs.run_fine(
            self.params,
            features0,
            features1,
            candidates.maps,
            cells,
            working_intrinsics(K0, prepared0, "K0"),
            working_intrinsics(K1, prepared1, "K1"),
            np.array([prepared0.scale, prepared1.scale], np.float32),
            np.int32(most),
            ratio,
            capacity=capacity,
            estimator=estimator,
        )
        return self._as_given(found, candidates)

    def at_points(self, candidates: Candidates, keypoints0, K0=None, K1=None) -> Matches:
        """Where points of image 0 lie in image 1: a row each, in the order given.

        keypoints0: [k 2], of batches [b k 2], pixels of image 0 as given. A row is valid where the
        confidence is above the threshold; a point outside of the image is not.
        """
        estimator = self.options.estimator_for(K0, K1)
        (prepared0, features0), (prepared1, features1) = candidates.view0, candidates.view1
        points0 = working_points(keypoints0, prepared0)
        k = points0.shape[1]
        room = 256 * 2 ** max(0, (-(-k // 256) - 1).bit_length())  # so that few sizes compile
        found = programs.run_at_points(
            self.params,
            features0,
            features1,
            candidates.maps,
            candidates.cells,
            np.pad(points0, ((0, 0), (0, room - k), (0, 0)), constant_values=-1e6),
            np.float32(self.threshold),
            working_intrinsics(K0, prepared0, "K0"),
            working_intrinsics(K1, prepared1, "K1"),
            np.array([prepared0.scale, prepared1.scale], np.float32),
            rows=self._rows(candidates.view0, candidates.view1),
            capacity=capacity_for(candidates.count, candidates.cells.cell0.shape[1]),
            estimator=estimator,
        )
        return self._as_given(jax.tree.map(lambda x: x[:, :k], found), candidates)

    def log_confidences(
        self, candidates: Candidates, temperatures: Sequence[float]
    ) -> Float[Array, "t b k"]:
        """log of the confidence of coarse matches, at temperatures in units of the model's own."""
        views = candidates.view0, candidates.view1
        given = *(view.features for view in views), candidates.maps, candidates.cells
        factors = np.asarray(temperatures, np.float32)
        return programs.run_log_confidences(self.params, *given, factors, rows=self._rows(*views))

    def _as_given(self, found: Matches, candidates: Candidates) -> Matches:
        """Image 1 no longer turned, and no batch where none was given."""
        prepared0, (prepared1, features1) = candidates.view0.prepared, candidates.view1
        found = matches_turned_back(
            found,
            prepared1.turn,
            shape=prepared1.given_shape,
            working_shape=prepared1.shape,
            width=features1.mask8.shape[2],
        )
        if prepared0.batched or prepared1.batched:
            return found
        return jax.tree.map(lambda x: np.asarray(x)[0], found)

    def _features(self, prepared: Prepared) -> Features:
        """One backbone pass."""
        canvas = canvas_of(prepared.shape, self.options.resize)
        pixels, mask = padded(prepared.pixels, canvas), padded(prepared.mask, canvas)
        square = canvases(self.options.resize)[-1]
        return programs.run_encode(self.params, pixels, mask, square=square)

    def _candidates(self, view0: TurnedView, view1: TurnedView) -> Candidates:
        sizes = [len(view.prepared.pixels) for view in (view0, view1)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"the two batches must have as many images; got {sizes[0]} and {sizes[1]}."
            )
        maps, cells, count = programs.run_coarse(
            self.params,
            view0.features,
            view1.features,
            np.float32(self.threshold),
            rows=self._rows(view0, view1),
        )
        return Candidates(view0, view1, maps, cells, int(count))

    def _rows(self, view0: TurnedView, view1: TurnedView) -> tuple[int, int]:
        """Pixel rows of both images that the coarse stage looks at: of 4:3 where both are, else of
        the square canvases."""
        views = (view0, view1)
        sides = [view.features.mask8.shape[2] * COARSE_STRIDE for view in views]
        fits = zip(views, sides, strict=True)
        wide = all(v.prepared.shape[0] <= canvases(side)[0][0] for v, side in fits)
        return tuple(canvases(side)[0 if wide else 1][0] for side in sides)


def working_points(keypoints0, prepared: Prepared) -> Float[np.ndarray, "b k 2"]:
    """Points in pixels of the working image. Raises ValueError."""
    points, b = np.asarray(keypoints0, np.float64), len(prepared.pixels)
    if points.ndim not in (2, 3) or points.shape[-1] != 2 or (points.ndim == 3) != prepared.batched:
        wanted = "[b k 2], as the images are a batch" if prepared.batched else "[k 2]"
        raise ValueError(f"keypoints0 must be (x, y) pixels {wanted}; got {points.shape}.")
    if prepared.batched and len(points) != b:
        raise ValueError(f"keypoints0 must be of {b} images; got {points.shape}.")
    if not np.isfinite(points).all():
        raise ValueError("keypoints0 must be finite; some are NaN or infinite.")
    points = shrunk_points(points.reshape(b, -1, 2), prepared.scale)
    return points.astype(np.float32)


def working_intrinsics(K, prepared: Prepared, name: str) -> Float[np.ndarray, "b 3 3"]:
    """K in pixels of the working image, turned as it is; NaN without K. Raises ValueError."""
    b = len(prepared.pixels)
    if K is None:
        return np.full((b, 3, 3), np.nan, np.float32)
    K = np.asarray(K, np.float64)
    if K.shape not in ((3, 3), (b, 3, 3)):
        raise ValueError(f"{name} must be a [3 3] matrix of intrinsics; got {K.shape}.")
    if not np.isfinite(K).all():
        raise ValueError(f"{name} must be finite; got {K.tolist()}.")
    if (K[..., 0, 0] <= 0).any() or (K[..., 1, 1] <= 0).any():
        raise ValueError(f"{name} must have positive focal lengths, in pixels; got {K.tolist()}.")
    K = turned_camera(K, prepared.given_shape, prepared.turn)
    K = shrunk_intrinsics(K, prepared.scale)
    return np.broadcast_to(K.astype(np.float32), (b, 3, 3))
