"""Every program that a match of one choice of options may need, run once on noise."""

import dataclasses
from collections.abc import Callable, Iterator

import jax
import numpy as np

from astr_jax.matching.canvases import canvases
from astr_jax.matching.encoded import EncodedImage
from astr_jax.matching.matcher import ALL, Matcher
from astr_jax.matching.polishing import polished
from astr_jax.matching.scales import FIRST_SCALES


def programs_to_warm(
    matcher: Matcher, K: np.ndarray | None = None
) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is compiled, and the call that compiles it: of both canvases, at the scales of the
    options, or at those of the first look.

    K: intrinsics, for programs of calibrated pairs; None for others.
    """
    rng = np.random.default_rng(0)
    scales = matcher.scales or FIRST_SCALES
    for size in canvases(matcher.options.resize):
        noise = np.uint8(rng.integers(0, 256, size))
        image = matcher.encode(noise, name="noise")
        where = "{1} x {0}".format(*size)
        if matcher.scales is None or matcher.options.upright is False:
            yield f"a first look, {where}", lambda image=image: matcher.plan(image, image)
        for scale in scales:
            yield f"a match at scale {scale:g}, {where}", whole(matcher, image, scale, K)


def whole(matcher: Matcher, image: EncodedImage, scale: float, K) -> Callable[[], object]:
    """A match of an image with itself, with few matches and with as many as there are cells."""

    def run():
        candidates = matcher.candidates(image, image, scale=scale)
        for count in (0, ALL):
            counted = dataclasses.replace(candidates.above(matcher.threshold), count=count)
            matches = matcher.refine(counted, K, K)
            jax.block_until_ready(matches.valid)
            if matcher.options.polish:
                full = matches.replace(valid=np.ones_like(matches.valid))
                polished(full, image.prepared, image.prepared, matcher.options.resize)

    return run
