"""The matcher: weights and options, and what leads from two images to their matches."""

import functools
from collections.abc import Sequence
from typing import no_type_check

import jax
import numpy as np
from jaxtyping import Float

from astr_jax.compiled import check_device, check_process
from astr_jax.images import Prepared, padded, prepare
from astr_jax.matching import programs
from astr_jax.matching.candidates import Candidates
from astr_jax.matching.canvases import canvas_of, canvases, capacity_for, limit_at
from astr_jax.matching.encoded import EncodedImage, EncodedView
from astr_jax.matching.first_look import Glance, Look, glanced, planned
from astr_jax.matching.options import MatchOptions
from astr_jax.matching.polishing import ALL as KEEP_ALL
from astr_jax.matching.polishing import polished
from astr_jax.matching.scales import (
    LOOK_SIZE,
    as_at_full_size,
    check_scales,
    merged,
    shrinks,
    surest,
)
from astr_jax.matching.selection import ENOUGH, LESS_SURE, PLENTY, exact, exact_with_less_sure, only
from astr_jax.matching.turns import matches_turned_back
from astr_jax.matching.working import say_if_narrow, working_intrinsics, working_points
from astr_jax.ops.grids import COARSE_STRIDE
from astr_jax.params import Params
from astr_jax.types import Matches
from pallas_kernels.arrays import Array

ALL = 2**30  # matches: more than there are


class Matcher:
    """Matches pairs of images by one set of weights and one choice of options.

        matcher = Matcher(params, MatchOptions(resize=832))
        image0, image1 = matcher.encode("left.jpg"), matcher.encode("right.jpg")
        matches = matcher.match(image0, image1)

    A folder of any sizes runs through at most eight compiled programs at one `resize` and scale,
    and the coarse ones of the first look. Raises ValueError where params are none.
    """

    @no_type_check
    def __init__(self, params: Params, options: MatchOptions | None = None):
        if not isinstance(params, Params):
            raise ValueError(f"params must come from astr_jax.load(); got {type(params).__name__}.")
        check_device()
        self.params, self.options = params, options or MatchOptions()
        own = params.calibration.threshold
        self.threshold = own if self.options.threshold is None else self.options.threshold
        self.scales = check_scales(self.options.scales)  # None: by the first look

    def encode(self, image, mask=None, *, name: str = "image") -> EncodedImage:
        """Reads an image or a batch, and checks it; its backbone pass follows at the first match.

        image, mask: as in `astr_jax.match`. name: what errors call it.
        """
        options = self.options
        prepared = prepare(image, mask, resize=options.resize, name=name, alpha=options.alpha)
        say_if_narrow(prepared, name)
        return EncodedImage(prepared, self._view, name)

    def match(
        self,
        image0: EncodedImage,
        image1: EncodedImage,
        K0=None,
        K1=None,
        *,
        keypoints0=None,
        glance: Glance | None = None,
    ) -> Matches:
        """Matches in pixels of the images as given, sorted by confidence, padded.

        K0, K1: intrinsics [3 3] (of batches also [b 3 3]) in pixels of the images as given.
        keypoints0: as in at_points, whose rows are returned then. glance: of this very pair, which
        spares the first look.
        """
        check_process()
        self.options.estimator_for(K0, K1)  # bad cameras are refused before the work
        working_intrinsics(K0, image0.prepared, "K0")
        working_intrinsics(K1, image1.prepared, "K1")
        if keypoints0 is not None:
            working_points(keypoints0, image0.prepared)
        turn, scales = glance[:2] if glance else self.plan(image0, image1)
        at = functools.partial(self.candidates, image0, image1, turn=turn)
        if keypoints0 is not None:
            found = [self.at_points(at(scale=scale), keypoints0, K0, K1) for scale in scales]
            matches = found[0] if len(found) == 1 else surest(found)
            return self._polished(matches, image0, image1)[0] if self.options.polish else matches
        if not self.options.polish:
            return self._refined([at(scale=scale) for scale in scales], K0, K1)
        least = self._least_sure(image0, image1)
        candidates = [at(scale=scale, threshold=least) for scale in scales]
        matches = self._refined([some.above(self.threshold) for some in candidates], K0, K1)
        matches, settled = self._polished(matches, image0, image1)
        if self.options.polish == KEEP_ALL:
            return matches
        if least < self.threshold and settled.sum() < PLENTY:
            more, at_rest = self._polished(self._refined(candidates, K0, K1), image0, image1)
            keep = exact_with_less_sure(more.confidence, at_rest, self.threshold)
            if keep.sum() >= ENOUGH:
                return only(more, keep)
        return only(matches, exact(matches.valid, settled))

    def _least_sure(self, image0: EncodedImage, image1: EncodedImage) -> float:
        """The confidence of matches that may serve where there are few: below the threshold only
        where that is the weights' own, and of one pair alone."""
        batched = image0.prepared.batched or image1.prepared.batched
        if batched or self.options.threshold is not None or self.options.polish == KEEP_ALL:
            return self.threshold
        return min(self.threshold, LESS_SURE)

    def _polished(self, matches: Matches, *images: EncodedImage) -> tuple[Matches, np.ndarray]:
        """The matches after least-squares matching, and which settled."""
        return polished(matches, *(image.prepared for image in images), self.options.resize)

    def _refined(self, candidates: Sequence[Candidates], K0, K1) -> Matches:
        """The matches of all scales."""
        found = [self.refine(at_scale, K0, K1) for at_scale in candidates]
        return found[0] if len(found) == 1 else merged(found, self.options.max_matches)

    def plan(self, image0: EncodedImage, image1: EncodedImage) -> tuple[float, tuple[float, ...]]:
        """The turn of image 1 and the scales that the pair is matched at, by a first look: coarse,
        at half the size. Nothing is looked at where the options leave no choice."""
        batched = image0.prepared.batched or image1.prepared.batched
        if batched and self.options.upright is False:
            raise ValueError(
                f"{image1.name} is a batch, and each image of it may lie differently; "
                "upright=False takes one pair at a time. match_pairs takes many."
            )
        if batched and self.scales is not None and len(self.scales) > 1:
            raise ValueError(
                f"{image1.name} is a batch; several scales take one pair at a time. match_pairs "
                "takes many."
            )
        if batched or (self.options.upright is not False and self.scales is not None):
            return 0, self.scales or (1.0,)
        look = functools.partial(self._look, image0, image1)
        return planned(look, upright=self.options.upright, scales=self.scales)

    def glance(self, image0: EncodedImage, image1: EncodedImage) -> Glance:
        """The plan of a pair, and how well its matches agree in the first look, which is taken even
        where the options leave no choice."""
        upright = self.options.upright
        if self.scales is not None and upright is not False:
            upright = True  # as plan has it
        look = functools.partial(self._look, image0, image1)
        return glanced(look, upright=upright, scales=self.scales)

    def candidates(
        self,
        image0: EncodedImage,
        image1: EncodedImage,
        *,
        turn: float = 0,
        scale: float = 1.0,
        threshold: float | None = None,
    ) -> Candidates:
        """The coarse matches at a turn of image 1 and a scale (`astr_jax.matching.scales`).

        threshold: least confidence; None for that of all matches.
        """
        shrink0, shrink1 = shrinks(scale)
        view0, view1 = image0.at(0, shrink0), image1.at(turn, shrink1)
        sizes = [len(view.prepared.pixels) for view in (view0, view1)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"the two batches must have as many images; got {sizes[0]} and {sizes[1]}."
            )
        maps, cells, count = programs.run_coarse(
            self.params,
            view0.features,
            view1.features,
            np.float32(self.threshold if threshold is None else threshold),
            rows=rows_of(view0, view1),
        )
        return Candidates(view0, view1, maps, cells, int(count), scale)

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
        (prepared0, features0, _), (prepared1, features1, _) = candidates.view0, candidates.view1
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
        (prepared0, features0, _), (prepared1, features1, _) = candidates.view0, candidates.view1
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
            rows=rows_of(candidates.view0, candidates.view1),
            capacity=capacity_for(candidates.count, candidates.cells.cell0.shape[1]),
            estimator=estimator,
        )
        found = jax.tree.map(lambda x: np.asarray(x)[:, :k], found)  # JAX compiles for every k
        return self._as_given(found, candidates)

    def log_confidences(
        self, candidates: Candidates, temperatures: Sequence[float]
    ) -> Float[Array, "t b k"]:
        """log of the confidence of coarse matches, at temperatures in units of the model's own."""
        views = candidates.view0, candidates.view1
        given = *(view.features for view in views), candidates.maps, candidates.cells
        factors = np.asarray(temperatures, np.float32)
        return programs.run_log_confidences(self.params, *given, factors, rows=rows_of(*views))

    def _as_given(self, found: Matches, candidates: Candidates) -> Matches:
        """Image 1 no longer turned, no image shrunk, and no batch where none was given."""
        (prepared0, features0, _), (prepared1, features1, _) = candidates.view0, candidates.view1
        widths = tuple(features.mask8.shape[2] for features in (features0, features1))
        found = matches_turned_back(found, prepared1, widths[1])
        full = canvases(self.options.resize)[-1][1] // COARSE_STRIDE
        found = as_at_full_size(found, candidates.scale, widths, full)
        if prepared0.batched or prepared1.batched:
            return jax.tree.map(jax.numpy.asarray, found)
        return jax.tree.map(lambda x: np.asarray(x)[0], found)

    def _view(self, prepared: Prepared, shrink: int) -> EncodedView:
        """An image so many times smaller, after one backbone pass."""
        prepared, limit = prepared.shrunk(shrink), limit_at(self.options.resize, shrink)
        canvas = canvas_of(prepared.shape, limit)
        pixels, mask = padded(prepared.pixels, canvas), padded(prepared.mask, canvas)
        square = canvases(limit)[-1]
        features = programs.run_encode(self.params, pixels, mask, square=square)
        return EncodedView(prepared, features, limit)

    def _look(self, image0: EncodedImage, image1: EncodedImage, turn: float, scale: float) -> Look:
        """What the first look says of a turn and a scale."""
        shrink0, shrink1 = (LOOK_SIZE * shrink for shrink in shrinks(scale))
        views = image0.at(0, shrink0), image1.at(turn, shrink1)
        if shrink0 > shrink1:
            views = views[::-1]  # P is the same, and so is the program
        features = (view.features for view in views)
        sure, agreeing = programs.run_look(self.params, *features, rows=rows_of(*views))
        return Look(float(sure), float(agreeing) * min(scale, 1 / scale) ** 2)


def rows_of(view0: EncodedView, view1: EncodedView) -> tuple[int, int]:
    """Pixel rows of both images that the coarse stage looks at: those of the 4:3 canvases where
    both images fit these, else of the square ones."""
    views = view0, view1
    wide = all(view.prepared.shape[0] <= canvases(view.limit)[0][0] for view in views)
    return tuple(canvases(view.limit)[0 if wide else 1][0] for view in views)
