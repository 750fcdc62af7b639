"""The matchers that eval.py knows by name: the model, classic ones, and functions of modules."""

import dataclasses
import hashlib
import importlib
import inspect
import os
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np

from astr_jax.api import RESIZE, Matcher, canvas_of, load, match, run_coarse
from astr_jax.evaluation.command import NamedMatcher
from astr_jax.evaluation.matchers.classic import MATCHERS
from astr_jax.ops.matching import dual_softmax, log_prob_at
from astr_jax.params import Calibration, find_weights


def astr_matcher(
    weights: str | None,
    resize: int | None,
    calibration: Calibration | None = None,
    *,
    upright: bool = True,
) -> NamedMatcher:
    """The model as a matcher, and its settings for the protocol.

    weights: a name or path, None for the best that ship. resize: the long side is shrunk to it.
    calibration: instead of the weights' own. upright: as in astr_jax.match.
    """
    path = find_weights(weights)
    params = load(path)
    params = params.replace(calibration=calibration or params.calibration)
    threshold = params.calibration.threshold
    options = {"resize": resize or RESIZE, "threshold": threshold, "max_matches": None}
    options["upright"] = upright

    def astr(img0, img1, K0=None, K1=None):
        estimator = "affine" if K0 is None else "pose"
        found = match(params, img0, img1, K0=K0, K1=K1, estimator=estimator, **options).compact()
        return found.keypoints0, found.keypoints1, found.confidence, found.sigma

    settings = {
        "weights": path.name,
        "weights_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "match_resize": options["resize"],
        "match_threshold": options["threshold"],
        "scale_estimator": "pose with intrinsics, else affine",
    }
    if not upright:
        settings["upright"] = False
    return NamedMatcher(match=astr, settings=settings, device=jax.local_devices()[0])


def astr_candidates(weights: str, resize: int, temperatures):
    """A function of a pair: all its mutual matches, whatever their confidence, sigma without its
    factor; and log P [t k] of each at every temperature, as a calibration counts it."""
    params = load(weights)
    raw = dataclasses.replace(params.calibration, sigma_factor=1.0)
    params = params.replace(calibration=raw)
    matcher = Matcher(params, None, 0.0, resize, None)
    own = params.config.matching

    @jax.jit
    def log_probs(f0, f1, mask0, mask1, cell0, cell1):
        def at(factor):
            temperature = own.temperature * factor
            matrix = dual_softmax(f0, f1, mask0, mask1, temperature=temperature, block=own.block)
            return log_prob_at(matrix, cell0, cell1)[0]

        return jax.lax.map(at, jnp.asarray(temperatures, jnp.float32))

    def candidates(img0, img1, K0=None, K1=None):
        image0, (image1,) = matcher.encode_pair(img0, img1)
        found = matcher.match(image0, [image1], K0, K1)
        rows = max(canvas_of(image.shape, resize)[0] for image, _ in (image0, image1))
        both = [features for _, features in (image0, image1)]
        coarse, _, _ = run_coarse(params, *both, np.float32(0.0), rows=rows)
        cells = rows // 8 * both[0].mask8.shape[2]  # the others are padding
        maps = [x[0][:cells] for x in (*coarse, *(f.mask8.reshape(1, -1) for f in both))]
        log_prob = np.asarray(log_probs(*maps, found.cell0, found.cell1))
        log_prob, found = log_prob[:, found.valid], found.compact()
        return (found.keypoints0, found.keypoints1, found.confidence, found.sigma), log_prob

    return candidates


def imported_matcher(path: str) -> NamedMatcher:
    """The function of package.module:function, made to accept K0 and K1, as a matcher."""
    module_name, _, name = path.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
        source = pathlib.Path(module.__file__).read_bytes()
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
    name: str, weights: str | None, resize: int | None, *, upright: bool = True
) -> NamedMatcher:
    """A matcher by its name on the command line."""
    if name == "astr":
        return astr_matcher(weights, resize, upright=upright)
    asked = {"--weights": weights, "--resize": resize, "--no-upright": None if upright else True}
    for option, value in asked.items():
        if value is not None:
            raise ValueError(f"{option} is of astr; the matcher {name} has none.")
    if name in MATCHERS:
        return NamedMatcher(match=MATCHERS[name], settings={"matcher": name})
    if ":" in name:
        return imported_matcher(name)
    known = ", ".join(["astr", *MATCHERS])
    raise ValueError(f"no matcher {name!r}. Use {known}, or package.module:function.")
