"""What programs call: load weights, match two images, match many pairs."""

import os
from collections.abc import Iterable, Iterator
from typing import no_type_check

from astr_jax.compiled import keep_compiled
from astr_jax.matching import RESIZE, EncodedImages, Matcher, MatchOptions
from astr_jax.params import Params, find_weights, load_params
from astr_jax.types import Matches


def load(name: str | os.PathLike | None = None) -> Params:
    """Loads weights: a shipped name ("tiny"), a path, or nothing for the best that ships.

    Batch norm is folded for inference. Compiled programs are kept in a cache folder of the user's
    from here on (`astr_jax.compiled`). Raises FileNotFoundError or ValueError.
    """
    keep_compiled()
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
    polish: bool = True,
    keypoints0=None,
) -> Matches:
    """Matches two images, or two batches of images.

    Args:
      img0, img1: uint8 or float in [0, 1], [H W], [H W 1] or [H W 3], with [b ...] for batches of
        one shape, PIL images or paths. The two images may differ in size.
      K0, K1: intrinsics [3 3], of batches also [b 3 3], in pixels of the images as given.
      mask0, mask1: bool [H W], of batches [b H W], True where usable.
      max_matches: the most confident ones alone.
      threshold: least confidence; None for the weights' own.
      resize: the long side is shrunk to this at most. More pixels mean more and finer matches.
      estimator: of the scale ratio, "pose" (needs K0 and K1), "affine", "none". None chooses the
        first that it can.
      upright: True: both images stand the same way up, within some 45 degrees. False looks at img1
        at four quarter turns first, and takes the one that agrees most; not for batches. "auto"
        does so where the images as they lie hardly agree, along with scales="auto".
      scales: how much larger things look in img1: a power of two from 1/8 to 8, or several, whose
        matches are put together by coarse cell of img0. At 2, img1 is halved first; at 0.5, img0.
        "auto" takes one or two, by a first look at half the size. Of batches it is 1.
      polish: lay the surroundings of each match upon each other in the end (least-squares
        matching): where they agree, keypoints1 is true to a fraction of a pixel.
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
    )
    matcher = Matcher(params, options)
    options.estimator_for(K0, K1)  # refuses one without the other before the images are read
    image0 = matcher.encode(img0, mask0, name="img0")
    image1 = matcher.encode(img1, mask1, name="img1")
    return matcher.match(image0, image1, K0, K1, keypoints0=keypoints0)


@no_type_check
def match_pairs(
    params: Params,
    pairs: Iterable[tuple],
    *,
    intrinsics=None,
    max_matches: int | None = None,
    threshold: float | None = None,
    resize: int = RESIZE,
    estimator: str | None = None,
    upright="auto",
    scales="auto",
    polish: bool = True,
    keep: int = 64,
) -> Iterator[Matches]:
    """Matches many pairs (img0, img1), yielding Matches in order; each image is encoded once.

    Args:
      pairs: of images as in match; paths are told apart by name, arrays by identity. Order them so
        that images recur soon.
      intrinsics: None, or a function from an image to its K [3 3], in pixels of it as given.
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
    )
    return _matches_of_pairs(Matcher(params, options), pairs, intrinsics, keep)


def _matches_of_pairs(matcher: Matcher, pairs, intrinsics, keep: int) -> Iterator[Matches]:
    images = EncodedImages(matcher.encode, keep)
    for number, (img0, img1) in enumerate(pairs):
        image0 = images.get(img0, f"img0 of pair {number}")
        image1 = images.get(img1, f"img1 of pair {number}")
        K0, K1 = (intrinsics(img0), intrinsics(img1)) if intrinsics else (None, None)
        yield matcher.match(image0, image1, K0, K1)
