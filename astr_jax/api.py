"""What programs call: load weights, match two images, match many pairs.

A folder of any sizes runs through at most six compiled programs at one `resize`: images are
padded, with masks, to one of two canvases (4:3 and square), for encode and for coarse; the number
of coarse matches picks one of two capacities for fine. Padding does not change results.
"""

import functools
import os
from collections.abc import Hashable, Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from astr_jax.images import Prepared, padded, prepare
from astr_jax.model.astr import ASTR, coarse_matches
from astr_jax.ops.grids import COARSE_STRIDE, cell_centres
from astr_jax.ops.matching import dual_softmax
from astr_jax.ops.scaling import ESTIMATORS, scale_ratio
from astr_jax.params import Params, find_weights, load_params
from astr_jax.turns import TURNS, matches_turned_back, turned_camera
from astr_jax.types import CoarseMatches, CoarseOutput, Features, FineMatches, Matches

RESIZE = 640  # default limit of the long side, pixels
FINE_AT_ONCE = 256  # matches of a step of the fine stage; on a CPU 1024 take twice the time


def load(name: str | os.PathLike | None = None) -> Params:
    """Loads weights: a shipped name ("tiny"), a path, or nothing for the best that ships.

    Batch norm is folded for inference. Raises FileNotFoundError or ValueError.
    """
    return load_params(find_weights(name))


def match(
    params: Params,
    img0,
    img1,
    *,
    K0=None,
    K1=None,
    mask0=None,
    mask1=None,
    max_matches: int | None = None,
    threshold: float | None = None,
    resize: int = RESIZE,
    estimator: str | None = None,
    upright: bool = True,
) -> Matches:
    """Matches two images, or two batches of images.

    img0, img1: uint8 or float in [0, 1], [H W], [H W 1] or [H W 3], with [b ...] for batches of
    one shape, PIL images or paths; the two images may differ in size. mask0, mask1: bool [H W],
    True where usable. K0, K1: intrinsics [3 3] in pixels of the images as given. threshold: least
    confidence, None for the weights' own. resize: the long side is shrunk to this at most, and
    more pixels mean more and finer matches. estimator: of the scale ratio, "pose" (needs K0 and
    K1), "affine", "none"; None chooses the first that it can. upright: both images stand the same
    way up; False tries img1 at four quarter turns, which takes three to five times as long, and
    keeps the turn of the largest sum of confidences (not for batches).

    Returns Matches in pixels of the images as given, sorted by confidence; images without anything
    in common give an empty one. Deterministic. Raises ValueError for input it cannot read.
    """
    matcher = Matcher(params, max_matches, threshold, resize, estimator, upright=upright)
    matcher.choose_estimator(K0, K1)  # refuses one without the other
    image0, images1 = matcher.encode_pair(img0, img1, mask0, mask1)
    return matcher.match(image0, images1, K0, K1)


def match_pairs(
    params: Params,
    pairs: Iterable[tuple],
    *,
    intrinsics=None,
    max_matches: int | None = None,
    threshold: float | None = None,
    resize: int = RESIZE,
    estimator: str | None = None,
    upright: bool = True,
    keep: int = 64,
) -> Iterator[Matches]:
    """Matches many pairs (img0, img1), yielding Matches in order; each image is encoded once.

    Images are as in match; paths are told apart by name, arrays by identity. intrinsics: None, or
    a function from an image to its K [3 3]. keep: how many images' features stay in memory (where
    upright is False, of an img1 four times as many); order the pairs so that images recur soon.
    Options are checked at the call, images in their turn.
    """
    matcher = Matcher(params, max_matches, threshold, resize, estimator, upright=upright)
    return _matches_of_pairs(matcher, pairs, intrinsics, keep)


def _matches_of_pairs(matcher: "Matcher", pairs, intrinsics, keep: int) -> Iterator[Matches]:
    encoded: dict[Hashable, tuple] = {}

    def features(image, name, turned):
        key = os.fspath(image) if isinstance(image, str | os.PathLike) else id(image)
        # The image itself is kept too, so that its identity is not given to another one.
        found = encoded.pop(key, None) or (image, matcher.prepare(image, None, name), {})
        encoded[key] = found  # newest last
        while len(encoded) > max(2, keep):
            encoded.pop(next(iter(encoded)))
        _, prepared, of_turn = found
        wanted = matcher.turns_of(prepared, name) if turned else [prepared]
        for view in wanted:
            if view.turn not in of_turn:
                of_turn[view.turn] = matcher.encode(view)
        return [of_turn[view.turn] for view in wanted]

    for number, (img0, img1) in enumerate(pairs):
        (image0,) = features(img0, f"img0 of pair {number}", turned=False)
        images1 = features(img1, f"img1 of pair {number}", turned=True)
        K0, K1 = (intrinsics(img0), intrinsics(img1)) if intrinsics else (None, None)
        yield matcher.match(image0, images1, K0, K1)


class Matcher:
    """Checked options, and the three compiled stages of a match."""

    def __init__(self, params, max_matches, threshold, resize, estimator, *, upright=True):
        if not isinstance(params, Params):
            raise ValueError(f"params must come from astr_jax.load(); got {type(params).__name__}.")
        if max_matches is not None and max_matches < 1:
            raise ValueError(f"max_matches must be at least 1, or None; got {max_matches}.")
        if threshold is not None and not 0 <= threshold < 1:
            raise ValueError(f"threshold must lie in [0, 1); got {threshold}.")
        if resize < 64:
            raise ValueError(f"resize must be at least 64 pixels; got {resize}.")
        if estimator not in (None, *ESTIMATORS):
            raise ValueError(f"estimator must be one of {ESTIMATORS} or None; got {estimator!r}.")
        self.params, self.resize, self.estimator = params, int(resize), estimator
        self.turns = TURNS[:1] if upright else TURNS
        self.max_matches = 2**30 if max_matches is None else max_matches
        self.threshold = params.calibration.threshold if threshold is None else threshold

    def prepare(self, image, mask, name: str) -> Prepared:
        """An image or a batch at the working size."""
        return prepare(image, mask, resize=self.resize, name=name)

    def turns_of(self, prepared: Prepared, name: str) -> list[Prepared]:
        """Image 1 at every turn that is tried, as given first."""
        if prepared.batched and len(self.turns) > 1:
            raise ValueError(
                f"{name} is a batch, and each image of it may lie differently; upright=False takes "
                "one pair at a time. match_pairs takes many."
            )
        return [prepared.turned(turn) for turn in self.turns]

    def encode(self, prepared: Prepared) -> tuple[Prepared, Features]:
        """One backbone pass."""
        canvas = canvas_of(prepared.shape, self.resize)
        long_side = np.full(len(prepared.pixels), float(max(prepared.shape)), np.float32)
        return prepared, run_encode(
            self.params,
            padded(prepared.pixels, canvas),
            padded(prepared.mask, canvas),
            long_side,
            square=canvases(self.resize)[-1],
        )

    def encode_pair(
        self, img0, img1, mask0=None, mask1=None, names: tuple[str, str] = ("img0", "img1")
    ) -> tuple[tuple[Prepared, Features], list[tuple[Prepared, Features]]]:
        """Image 0, and image 1 at every turn that is tried, as given first; all checked before the
        work. Images and masks are as in match; names: what errors call the images."""
        prepared0 = self.prepare(img0, mask0, names[0])
        turns1 = self.turns_of(self.prepare(img1, mask1, names[1]), names[1])
        return self.encode(prepared0), [self.encode(prepared1) for prepared1 in turns1]

    def match(self, image0, images1: list, K0, K1) -> Matches:
        """Coarse and fine matching of an encoded image 0 and image 1, encoded at turns to try."""
        estimator = self.choose_estimator(K0, K1)
        camera0 = working_intrinsics(K0, image0[0], "K0")
        cameras1 = [working_intrinsics(K1, prepared1, "K1") for prepared1, _ in images1]
        coarse = [self._coarse(image0, image1) for image1 in images1]
        best = 0
        if len(coarse) > 1:
            best = int(np.argmax([(m.confidence * m.valid).sum() for _, m, _ in coarse]))
        return self._fine(
            image0, images1[best], coarse[best], camera0, cameras1[best], estimator=estimator
        )

    def _coarse(self, image0, image1) -> tuple:
        (prepared0, features0), (prepared1, features1) = image0, image1
        if len(prepared0.pixels) != len(prepared1.pixels):
            raise ValueError(
                "the two batches must have as many images; "
                f"got {len(prepared0.pixels)} and {len(prepared1.pixels)}."
            )
        rows = max(canvas_of(p.shape, self.resize)[0] for p in (prepared0, prepared1))
        return run_coarse(self.params, features0, features1, np.float32(self.threshold), rows=rows)

    def _fine(self, image0, image1, coarse: tuple, camera0, camera1, *, estimator) -> Matches:
        (prepared0, features0), (prepared1, features1) = image0, image1
        features, matches, count = coarse
        capacity = capacity_for(int(count), matches.cell0.shape[1])
        found = run_fine(
            self.params,
            features0,
            features1,
            features,
            matches,
            camera0,
            camera1,
            np.array([prepared0.scale, prepared1.scale], np.float32),
            np.int32(min(self.max_matches, capacity)),
            capacity=capacity,
            estimator=estimator,
        )
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

    def choose_estimator(self, K0, K1) -> str:
        """The named estimator, or the best for what is known."""
        if (K0 is None) != (K1 is None):
            raise ValueError("K0 and K1 belong together: pass both, or neither.")
        if self.estimator == "pose" and K0 is None:
            raise ValueError('estimator="pose" needs the intrinsics K0 and K1.')
        return self.estimator or ("affine" if K0 is None else "pose")


def canvases(resize: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The two sizes (h, w) that images are padded to: 4:3, and square."""
    side = -(-resize // 32) * 32
    return (-(-3 * resize // 128) * 32, side), (side, side)


def canvas_of(shape: tuple[int, int], resize: int) -> tuple[int, int]:
    """The canvas of an image of the given working size."""
    wide, square = canvases(resize)
    return wide if shape[0] <= wide[0] else square


def capacity_for(count: int, cells: int) -> int:
    """How many matches the fine stage takes: 256 * 2^k, of two sizes, so that few compile."""
    sizes = [256 * 2 ** max(0, (-(-n // 256) - 1).bit_length()) for n in (-(-cells // 8), cells)]
    return sizes[0] if count <= sizes[0] else sizes[1]


def working_intrinsics(K, prepared: Prepared, name: str) -> np.ndarray:
    """K [b 3 3] in pixels of the working image, turned as it is: c' = (c + 0.5) / a - 0.5. Without
    K, anything."""
    b = len(prepared.pixels)
    if K is None:
        return np.broadcast_to(np.eye(3, dtype=np.float32), (b, 3, 3))
    K = np.asarray(K, np.float64)
    if K.shape not in ((3, 3), (b, 3, 3)):
        raise ValueError(f"{name} must be a [3 3] matrix of intrinsics; got {K.shape}.")
    if not np.isfinite(K).all():
        raise ValueError(f"{name} must be finite; got {K.tolist()}.")
    if (K[..., 0, 0] <= 0).any() or (K[..., 1, 1] <= 0).any():
        raise ValueError(f"{name} must have positive focal lengths, in pixels; got {K.tolist()}.")
    K = turned_camera(K, prepared.given_shape, prepared.turn)
    shrink = np.diag([1 / prepared.scale[0], 1 / prepared.scale[1], 1.0])
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    K = np.linalg.inv(half) @ shrink @ half @ K
    return np.broadcast_to(K.astype(np.float32), (b, 3, 3))


def _to_rows(x: Array, rows: int, axis: int = 1) -> Array:
    """Cuts or pads (with zeros) the rows of a map."""
    if x.shape[axis] >= rows:
        return jax.lax.slice_in_dim(x, 0, rows, axis=axis)
    pads = [(0, rows - x.shape[axis] if a == axis else 0) for a in range(x.ndim)]
    return jnp.pad(x, pads)


def _in_chunks(refine, matches: CoarseMatches, ratio: Array) -> FineMatches:
    """Runs refine on a few matches at a time, so that memory does not grow with their number, and
    not at all where none of them is valid: the time grows with the matches, not the capacity."""
    b, k = ratio.shape
    chunks = jax.tree.map(lambda x: x.reshape(b, -1, FINE_AT_ONCE).swapaxes(0, 1), (matches, ratio))

    def nothing(*chunk):
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(refine, *chunk))

    fine = jax.lax.map(
        lambda chunk: jax.lax.cond(chunk[0].valid.any(), refine, nothing, *chunk), chunks
    )
    return jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(b, k, *x.shape[3:]), fine)


@functools.partial(jax.jit, static_argnames="square")
def run_encode(params: Params, pixels, mask, long_side, *, square: tuple[int, int]) -> Features:
    """Encodes at the canvas of the input; the maps come out padded to the square canvas."""
    model = ASTR(params.config)
    features = model.apply(params.variables, pixels[..., None], mask, long_side, method="encode")
    strides = {
        "coarse32": 32,
        "mask32": 32,
        "coarse8": 8,
        "mask8": 8,
        "fine": params.config.backbone.fine_stride,
        "fine_mask": params.config.backbone.fine_stride,
    }
    return Features(
        **{k: _to_rows(getattr(features, k), square[0] // s) for k, s in strides.items()}
    )


@functools.partial(jax.jit, static_argnames="rows")
def run_coarse(params: Params, features0, features1, threshold, *, rows: int):
    """Matches coarsely on the upper `rows` pixels; returns features and matches padded as given,
    and the largest number of matches of a pair."""
    cut = [
        Features(
            coarse32=_to_rows(f.coarse32, rows // 32),
            coarse8=_to_rows(f.coarse8, rows // 8),
            fine=f.fine,
            mask32=_to_rows(f.mask32, rows // 32),
            mask8=_to_rows(f.mask8, rows // 8),
            fine_mask=f.fine_mask,
        )
        for f in (features0, features1)
    ]
    config = params.config
    coarse = ASTR(config).apply(params.variables, *cut, method="coarse")
    calibrated = functools.partial(
        dual_softmax,
        temperature=config.matching.temperature * params.calibration.temperature,
        block=config.matching.block,
    )
    if params.calibration.temperature != 1.0:
        matrix = jax.vmap(calibrated)(
            coarse.features0, coarse.features1, coarse.mask0, coarse.mask1
        )
        coarse = coarse.replace(matrix=matrix)
    n = coarse.mask0.shape[1]
    matches = coarse_matches(coarse, cut[0].mask8, cut[1].mask8, config, n, threshold=threshold)
    full = features0.mask8.shape[1] * features0.mask8.shape[2]
    both = [_to_rows(f, full) for f in (coarse.features0, coarse.features1)]
    matches = jax.tree.map(lambda x: _to_rows(x, full), matches)
    return both, matches, matches.valid.sum(axis=1).max()


@functools.partial(jax.jit, static_argnames=("capacity", "estimator"))
def run_fine(
    params: Params,
    features0: Features,
    features1: Features,
    coarse: list,
    matches: CoarseMatches,
    K0,
    K1,
    scales,
    max_matches,
    *,
    capacity: int,
    estimator: str,
) -> Matches:
    """Adaptive scaling and fine matching of the first `capacity` matches; image-as-given pixels."""
    matches = jax.tree.map(lambda x: _to_rows(x, capacity), matches)
    width = features0.mask8.shape[2]
    centres = [cell_centres(c, width, COARSE_STRIDE) for c in (matches.cell0, matches.cell1)]
    ratio = jax.vmap(
        lambda p0, p1, v, k0, k1: scale_ratio(
            p0,
            p1,
            v,
            estimator=estimator,
            K0=k0,
            K1=k1,
            cell=COARSE_STRIDE,
            key=jax.random.key(0),
        )
    )(*centres, matches.valid, K0, K1)
    # Cut after the ratios: they are fits to all coarse matches, whatever is asked for.
    valid = matches.valid & (jnp.arange(capacity) < max_matches)[None]
    matches = matches.replace(valid=valid)
    b, n = features0.mask8.shape[0], features0.mask8.shape[1] * width
    output = CoarseOutput(
        features0=coarse[0],
        features1=coarse[1],
        mask0=features0.mask8.reshape(b, n),
        mask1=features1.mask8.reshape(b, n),
        matrix=None,
        spot_matrices=(),
        spots=(),
    )
    fine = _in_chunks(
        lambda matches, ratio: ASTR(params.config).apply(
            params.variables, features0, features1, output, matches, ratio, method="fine"
        ),
        matches,
        ratio,
    )
    given0, given1 = (
        (p + 0.5) * s[None, None] - 0.5
        for p, s in zip((fine.points0, fine.points1), scales, strict=True)
    )
    sigma = fine.sigma * params.calibration.sigma_factor * jnp.sqrt(scales[1].prod())

    def kept(x, empty=0):
        return jnp.where(valid.reshape(valid.shape + (1,) * (x.ndim - 2)), x, empty)

    return Matches(
        keypoints0=kept(given0),
        keypoints1=kept(given1),
        confidence=kept(matches.confidence),
        sigma=kept(sigma),
        scale=kept(ratio),
        cell0=kept(matches.cell0, -1),
        cell1=kept(matches.cell1, -1),
        valid=valid,
    )
