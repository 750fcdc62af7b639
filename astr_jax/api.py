"""What programs call: load weights, match two images, match many pairs."""

import os
from collections.abc import Iterable, Iterator
from typing import no_type_check

from astr_jax.compiled import check_device, keep_compiled
from astr_jax.images import DROP, notice
from astr_jax.matching import RESIZE, EncodedImages, Matcher, MatchOptions
from astr_jax.matching.flow import flow_of
from astr_jax.params import Params, find_weights, load_params
from astr_jax.types import FlowMap, Matches

RAISE, SKIP = ON_ERROR = ("raise", "skip")  # what match_pairs does with a pair that fails


def load(name: str | os.PathLike | None = None) -> Params:
    """Loads weights: a shipped name ("tiny"), a path, or nothing for the best that ships.

    Batch norm is folded for inference. Compiled programs are kept in a cache folder of the user's
    from here on (`astr_jax.compiled`). Raises FileNotFoundError or ValueError.
    """
    keep_compiled()
    check_device()
    return load_params(find_weights(name))


@no_type_check
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
    upright="auto",
    scales="auto",
    polish=True,
    alpha: str = DROP,
    keypoints0=None,
) -> Matches:
    """Matches two images, or two batches of images.

    Args:
      img0, img1: uint8 or float in [0, 1], [H W] or [H W c] of grey or RGB, with alpha or without,
        with [b ...] for batches of one shape, PIL images, or files: paths, bytes, open ones. The
        two images may differ in size.
      K0, K1: intrinsics [3 3], of batches also [b 3 3], in pixels of the images as given.
      mask0, mask1: bool [H W], of batches [b H W], True where usable; or files, black where not.
      max_matches: the most confident ones alone.
      threshold: least confidence; None for the weights' own, below which less sure matches fill up
        to 100 if polishing makes them exact.
      resize: the long side is shrunk to this at most. More pixels mean more and finer matches.
      estimator: of the scale ratio, "pose" (needs K0 and K1), "affine", "none". None chooses the
        first that it can.
      upright: True: both images stand the same way up, within some 45 degrees. False looks at img1
        at four quarter turns first, and between them where none agrees well, and takes the one that
        agrees most; not for batches. "auto" does so where the images as they lie hardly agree,
        along with scales="auto".
      scales: how much larger things look in img1: a power of two from 1/8 to 8, or several, whose
        matches are put together by coarse cell of img0. At 2, img1 is halved first; at 0.5, img0.
        "auto" takes one or two, by a first look at half the size. Of batches it is 1.
      polish: lay the surroundings of each match upon each other in the end (least-squares
        matching): where they agree, keypoints1 is true to a fraction of a pixel. Where they do not,
        the match is left out, unless fewer than 20 would be left; "all" leaves none out.
      alpha: of images that have it. "drop": it counts for nothing; "mask": what is more than half
        transparent is hidden, as by a mask.
      keypoints0: points of img0 to be found in img1, [k 2], of batches [b k 2], in pixels of img0
        as given, anywhere between pixels too. None: the centres of the coarse cells.

    Returns Matches [k ...], of batches [b k ...], in pixels of the images as given, sorted by
    confidence and padded; with keypoints0 a row for each of them, in their order, valid where the
    confidence is above the threshold. Images without anything in common may still get some: check
    the geometry. Deterministic. Raises ValueError for input it cannot read.
    """
    options = MatchOptions(
        max_matches=max_matches,
        threshold=threshold,
        resize=resize,
        estimator=estimator,
        upright=upright,
        scales=scales,
        polish=polish,
        alpha=alpha,
    )
    matcher = Matcher(params, options)
    options.estimator_for(K0, K1)  # refuses one without the other before the images are read
    image0 = matcher.encode(img0, mask0, name="img0")
    image1 = matcher.encode(img1, mask1, name="img1")
    return matcher.match(image0, image1, K0, K1, keypoints0=keypoints0)


@no_type_check
def flow(
    params: Params,
    img0,
    img1,
    *,
    mask0=None,
    mask1=None,
    threshold: float | None = None,
    resize: int = RESIZE,
    refine: bool = False,
    alpha: str = DROP,
) -> FlowMap:
    """Where every cell of img0 lies in img1, and how surely: for warping, stereo and tracking.

    Args:
      img0, img1, mask0, mask1, resize, alpha: as in match, of one pair, upright and of like scale.
      threshold: least confidence of a cell's match, in a model that knows matches alone.
      refine: let the fine stage refine each cell's point, and say how sure it is.

    Returns FlowMap [h w], a cell for 8 pixels of the working image, in pixels of the images as
    given. A model with flow heads (`aspan_tiny`) knows every cell that is not masked; of another
    the cells that have a match. Raises ValueError for input it cannot read, and for batches.
    """
    options = MatchOptions(
        threshold=threshold, resize=resize, upright=True, scales=1, polish=False, alpha=alpha
    )
    matcher = Matcher(params, options)
    image0 = matcher.encode(img0, mask0, name="img0")
    image1 = matcher.encode(img1, mask1, name="img1")
    return flow_of(matcher, image0, image1, refine=refine)


@no_type_check
def match_pairs(
    params: Params,
    pairs: Iterable[tuple],
    *,
    intrinsics=None,
    masks=None,
    on_error: str = RAISE,
    max_matches: int | None = None,
    threshold: float | None = None,
    resize: int = RESIZE,
    estimator: str | None = None,
    upright="auto",
    scales="auto",
    polish=True,
    alpha: str = DROP,
    keep: int = 64,
) -> Iterator[Matches]:
    """Matches many pairs (img0, img1), yielding Matches in order; each image is encoded once.

    Args:
      pairs: of images as in match, told apart by their pixels, files by path and time of change. So
        the buffer of a camera may be filled again. Order them so that images recur soon.
      intrinsics: None, or a function from an image to its K [3 3], in pixels of it as given.
      masks: None, or a function from an image to its mask, as in match, or None.
      on_error: of a pair that cannot be read or matched. "raise": its error ends the rest; "skip":
        it yields Matches without a row, and an ImageWarning says why.
      keep: how many images stay in memory, with the features of all sizes and turns that were
        matched or looked at.

    The other options are those of match. They are checked at the call, images in their turn.
    """
    options = MatchOptions(
        max_matches=max_matches,
        threshold=threshold,
        resize=resize,
        estimator=estimator,
        upright=upright,
        scales=scales,
        polish=polish,
        alpha=alpha,
    )
    if on_error not in ON_ERROR:
        raise ValueError(f"on_error must be one of {ON_ERROR}; got {on_error!r}.")
    known = intrinsics or nothing_known, masks or nothing_known
    return _matches_of_pairs(Matcher(params, options), pairs, *known, on_error, keep)


def _matches_of_pairs(matcher, pairs, intrinsics, masks, on_error, keep) -> Iterator[Matches]:
    images = EncodedImages(matcher.encode, keep)
    for number, pair in enumerate(pairs):
        try:
            encoded = [
                images.get(image, f"img{k} of pair {number}", masks(image))
                for k, image in enumerate(_two(pair, number))
            ]
            matches = matcher.match(*encoded, *map(intrinsics, pair))
        except (ValueError, OSError) as error:
            if on_error == RAISE:
                raise
            notice(f"pair {number} is skipped: {error}")
            matches = Matches.none()
        yield matches


def nothing_known(image) -> None:
    """The intrinsics, or the mask, of an image of which nothing is known."""


def _two(pair, number: int) -> tuple:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ValueError(
            f"pair {number} must be two images, (img0, img1); got a {type(pair).__name__}"
            + (f" of {len(pair)}." if isinstance(pair, tuple | list) else ".")
        )
    return tuple(pair)
