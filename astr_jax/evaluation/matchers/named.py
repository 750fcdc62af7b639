"""Matchers by name, to be evaluated: the model, classic ones, and functions of modules."""

import dataclasses
import hashlib
import importlib
import inspect
import os
import pathlib
import sys
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jaxtyping import Float

from astr_jax.evaluation.matchers.classic import MATCHERS
from astr_jax.evaluation.scores.found import MatchFunction
from astr_jax.matching import RESIZE, EncodedImage, Matcher, MatchOptions
from astr_jax.matching.polishing import ALL
from astr_jax.params import Calibration, Params, find_weights, load_params


def as_given(image):
    """What a matcher without an encoding of its own keeps of an image: the image."""
    return image


@dataclasses.dataclass(frozen=True, kw_only=True)
class NamedMatcher:
    """A matcher, its settings for the protocol, and the JAX device it runs on, if any.

    match(image0, image1, K0=None, K1=None) returns keypoints0 [k 2], keypoints1 [k 2], confidence
    [k] and perhaps sigma [k]. An image is uint8 grey [h w], or what `encode` made of one, which is
    worth keeping where an image is in many pairs. locate(image0, image1, points0 [k 2]) returns
    where these points lie in image 1 [k 2], however sure; None where the matcher cannot be asked.
    """

    match: MatchFunction
    settings: dict
    device: jax.Device | None = None
    encode: Callable = as_given
    locate: Callable | None = None


def astr_matcher(
    weights: str | None,
    resize: int | None,
    calibration: Calibration | None = None,
    *,
    upright="auto",
    polish: object = True,
) -> NamedMatcher:
    """The model as a matcher, and its settings for the protocol.

    weights: a name or path, None for the best that ship. resize: the long side is shrunk to it.
    calibration: instead of the weights' own. upright, polish: as in astr_jax.match.
    """
    path = find_weights(weights)
    params = load_params(path)
    params = params.replace(calibration=calibration or params.calibration)
    named = matcher_of(params, resize, upright=upright, polish=polish)
    file = {
        "weights": path.name,
        "weights_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    return dataclasses.replace(named, settings=file | named.settings)


def matcher_of(
    params: Params, resize: int | None = None, *, upright="auto", polish: object = True
) -> NamedMatcher:
    """The same of weights in memory, folded."""
    options = MatchOptions(resize=resize or RESIZE, upright=upright, polish=polish)
    matcher = Matcher(params, options)
    whatever = Matcher(params, dataclasses.replace(options, threshold=0.0))

    def encoded(*images):
        return (
            image if isinstance(image, EncodedImage) else matcher.encode(image, name=f"img{k}")
            for k, image in enumerate(images)
        )

    def astr(img0, img1, K0=None, K1=None):
        found = matcher.match(*encoded(img0, img1), K0, K1).compact()
        return found.keypoints0, found.keypoints1, found.confidence, found.sigma

    def locate(img0, img1, points0):
        return whatever.match(*encoded(img0, img1), keypoints0=points0).keypoints1

    settings = {
        "match_resize": matcher.options.resize,
        "match_threshold": matcher.threshold,
        "match_scales": matcher.options.scales,
        "scale_estimator": "pose with intrinsics, else affine",
    }
    settings |= {"upright": upright} | ({} if polish is True else {"polish": polish})
    device = jax.local_devices()[0]
    return NamedMatcher(
        match=astr, settings=settings, device=device, encode=matcher.encode, locate=locate
    )


class AstrCandidates:
    """All mutual matches of a pair, whatever their confidence: what a calibration is found on.

    Called with two images and, if known, K0 and K1. Returns what a matcher returns, sigma without
    its factor, and the log of the confidence [t k] of each match at every temperature.
    """

    def __init__(self, weights: str, resize: int, temperatures: Sequence[float]):
        params = load_params(find_weights(weights))
        raw = dataclasses.replace(params.calibration, sigma_factor=1.0)
        options = MatchOptions(threshold=0.0, resize=resize)
        self.matcher = Matcher(params.replace(calibration=raw), options)
        self.temperatures = temperatures

    def __call__(
        self, img0, img1, K0=None, K1=None
    ) -> tuple[tuple[np.ndarray, ...], Float[np.ndarray, "t k"]]:
        image0, image1 = (self.matcher.encode(image) for image in (img0, img1))
        candidates = self.matcher.candidates(image0, image1)
        found = self.matcher.refine(candidates, K0, K1).compact()
        confidence = np.asarray(self.matcher.log_confidences(candidates, self.temperatures))
        given = found.keypoints0, found.keypoints1, found.confidence, found.sigma
        return given, confidence[:, 0, : len(found)]


def imported_matcher(path: str) -> NamedMatcher:
    """The function of package.module:function, made to accept K0 and K1, as a matcher."""
    module_name, _, name = path.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
        source = pathlib.Path(module.__file__).read_bytes()
    except ImportError as error:
        raise ValueError(f"{path} cannot be imported: {error}.") from error
    except (SyntaxError, AttributeError) as error:
        raise ValueError(f"{module_name} is no module of Python in a file ({error}).") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"{module_name} has no function {name!r}.")
    stated = {"matcher": path, "source_sha256": hashlib.sha256(source).hexdigest()}
    parameters = inspect.signature(function).parameters
    if {"K0", "K1"} <= set(parameters) or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return NamedMatcher(match=function, settings=stated)

    def without(img0, img1, K0=None, K1=None):
        return function(img0, img1)

    return NamedMatcher(match=without, settings=stated)


def find_matcher(
    name: str,
    weights: str | None,
    resize: int | None,
    *,
    upright="auto",
    polish: object = True,
) -> NamedMatcher:
    """A matcher by its name on the command line."""
    if name == "astr":
        return astr_matcher(weights, resize, upright=upright, polish=polish)
    asked = {
        "--weights": weights,
        "--resize": resize,
        "--upright" if upright else "--no-upright": None if upright == "auto" else upright,
        "--no-polish": True if polish is False else None,
        "--keep-all": True if polish == ALL else None,
    }
    for option, value in asked.items():
        if value is not None:
            raise ValueError(f"{option} is of astr; the matcher {name} has none.")
    if name in MATCHERS:
        return NamedMatcher(match=MATCHERS[name], settings={"matcher": name})
    if ":" in name:
        return imported_matcher(name)
    known = ", ".join(["astr", *MATCHERS])
    raise ValueError(f"no matcher {name!r}. Use {known}, or package.module:function.")
