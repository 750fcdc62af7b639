"""What is exported: the stages of a match, as functions of named arrays of one working size.

    encode   an image -> its features
    coarse   the features of two images -> aggregated maps, and the matched cells
    fine     all of these -> sub-pixel matches
    polish   two images and their matches -> the matches after least-squares matching
    match    two images -> polished matches: all four

Points are in pixels of the working images. The scale ratio is estimated without intrinsics.
"""

import dataclasses
import types
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from astr_jax.matching import stages
from astr_jax.matching.selection import exact
from astr_jax.params import Params
from astr_jax.types import CoarseMatches, Features
from pallas_kernels.arrays import Array

Arrays = Mapping[str, Array]
OF_COARSE = ("coarse32", "coarse8", "mask32", "mask8")  # features that the coarse stage reads
OF_FINE = ("fine", "fine_mask", "mask8")
CELLS = ("cell0", "cell1", "confidence", "valid")


@dataclasses.dataclass(frozen=True)
class Program:
    """A function of weights and named arrays, and what it takes."""

    function: Callable[..., Arrays]  # (variables, **inputs) -> outputs by name
    inputs: Mapping[str, jax.ShapeDtypeStruct]


def named(params: Params, implementation: str) -> Params:
    """The same weights, with sparse attention by a named implementation: the device that traces
    must not choose for the one that will run."""
    aggregation = dataclasses.replace(params.config.aggregation, implementation=implementation)
    return params.replace(config=dataclasses.replace(params.config, aggregation=aggregation))


def programs_of(params: Params, size: tuple[int, int]) -> Mapping[str, Program]:
    """The programs at one working size: height and width, multiples of 32. Raises ValueError."""
    check_size(size)
    made: dict[str, Program] = {}
    image, mask = ((1, *size), jnp.float32), ((1, *size), bool)
    given = {"image": image, "mask": mask}
    features = _add(made, "encode", _encode, params, given)
    sides = ("0", "1")
    given = {f"{name}_{s}": features[name] for s in sides for name in OF_COARSE}
    coarse = _add(made, "coarse", _coarse, params, given | {"threshold": ((), jnp.float32)})
    given = {f"{name}_{s}": features[name] for s in sides for name in OF_FINE}
    fine = _add(made, "fine", _fine, params, given | coarse)
    pictures = {f"{name}{s}": x for name, x in (("image", image), ("mask", mask)) for s in sides}
    given = pictures | fine | {"valid": coarse["valid"]}
    made["polish"] = _program(_polish, params, given)
    made["match"] = _program(_match, params, pictures | {"threshold": ((), jnp.float32)})
    return types.MappingProxyType(made)


def check_size(size: tuple[int, int]) -> None:
    """Raises ValueError for sides that the pyramid cannot take."""
    if len(size) != 2 or min(size) < 64 or any(side % 32 for side in size):
        good = " x ".join(str(max(64, -(-side // 32) * 32)) for side in size[::-1])
        raise ValueError(
            f"the sides must be multiples of 32, 64 at least; got {size[1]} x {size[0]} (width x "
            f"height). Take {good}: smaller images are padded."
        )


def _add(made, name: str, function, params: Params, given) -> Mapping[str, tuple]:
    """Adds a program; returns shapes and types of its outputs."""
    made[name] = _program(function, params, given)
    outputs = jax.eval_shape(made[name].function, params.variables, **made[name].inputs)
    return {key: (x.shape, x.dtype) for key, x in outputs.items()}


def _program(function, params: Params, given) -> Program:
    def of_weights(variables: PyTree, **arrays):
        return function(params.replace(variables=variables), **arrays)

    return Program(of_weights, {key: jax.ShapeDtypeStruct(*x) for key, x in given.items()})


def _encode(params: Params, image, mask) -> Arrays:
    return vars(stages.encode(params, image, mask))


def _features(arrays: Arrays, side: str, read: tuple[str, ...]) -> Features:
    """The features of an image, with nothing in place of what the stage does not read."""
    b, height, width = arrays[f"mask8_{side}"].shape
    nothing, nowhere = jnp.zeros((b, 1, 1, 1), jnp.float32), jnp.zeros((b, 1, 1), bool)
    cells = jnp.zeros((b, height, width, 1), jnp.float32)
    usable = jnp.zeros((b, height, width), bool)
    empty = Features(nothing, cells, nothing, nowhere, usable, nowhere)
    return empty.replace(**{name: arrays[f"{name}_{side}"] for name in read})


def _coarse(params: Params, threshold, **arrays) -> Arrays:
    features = [_features(arrays, side, OF_COARSE) for side in "01"]
    coarse = stages.aggregate(params, *features)
    cells = stages.pick(params, coarse, *features, threshold=threshold)
    return {"map0": coarse.features0, "map1": coarse.features1} | vars(cells)


def _fine(params: Params, map0, map1, cell0, cell1, confidence, valid, **arrays) -> Arrays:
    features = [_features(arrays, side, OF_FINE) for side in "01"]
    cells = CoarseMatches(cell0, cell1, confidence, valid)
    unknown = jnp.full((len(valid), 3, 3), jnp.nan)
    ratio = stages.scale_ratios(cells, *features, unknown, unknown, estimator="affine")
    found = stages.refine(params, *features, map0, map1, cells, ratio)
    names = "keypoints0", "keypoints1", "covariance", "scale"
    return {name: getattr(found, name) for name in names}


def _polish(
    params, image0, image1, mask0, mask1, keypoints0, keypoints1, covariance, scale, valid
) -> Arrays:
    given = image0, image1, mask0, mask1, keypoints0, keypoints1, scale, valid
    fitted = stages.polish(*given)
    settled = fitted.settled[..., None, None]
    return {
        "polished_keypoints1": fitted.points1,
        "polished_covariance": jnp.where(settled, fitted.covariance, covariance),
        "polished_valid": exact(valid, fitted.settled),
    }


def _match(params: Params, image0, image1, mask0, mask1, threshold) -> Arrays:
    features = [_encode(params, *x) for x in ((image0, mask0), (image1, mask1))]
    both = {
        f"{name}_{s}": x for s, of in zip("01", features, strict=True) for name, x in of.items()
    }
    coarse = _coarse(params, threshold, **both)
    fine = _fine(params, **coarse, **both)
    images = image0, image1, mask0, mask1
    polished = _polish(params, *images, **fine, valid=coarse["valid"])
    return {
        "keypoints0": fine["keypoints0"],
        "keypoints1": polished["polished_keypoints1"],
        "covariance": polished["polished_covariance"],
        "scale": fine["scale"],
        **{name: coarse[name] for name in CELLS},
        "valid": polished["polished_valid"],
    }
