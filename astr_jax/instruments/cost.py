"""What a configuration costs: parameters and arithmetic. Nothing is trained or run."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from jax.extend import core

from astr_jax.config import ModelConfig, SpanConfig
from astr_jax.matching import stages
from astr_jax.model.fine import in_steps
from astr_jax.models.kinds import network
from astr_jax.params import Params

MATCHES_PER_CELL = 1 / 8  # that the fine stage is counted with


@dataclasses.dataclass(frozen=True)
class Flops:
    """Operations of one pair: a multiplication and an addition of a convolution or a matrix
    product count as two, the rest not at all."""

    encode: float  # of both images
    coarse: float
    fine: float  # with one match for eight coarse cells

    @property
    def total(self) -> float:
        return self.encode + self.coarse + self.fine


@functools.lru_cache
def abstract_variables(config: ModelConfig) -> dict:
    """Shapes of the variables, without making them."""
    image = jax.ShapeDtypeStruct((1, 64, 64, 1), jnp.float32)
    mask = jax.ShapeDtypeStruct((1, 64, 64), jnp.bool_)
    return jax.eval_shape(network(config).init, jax.random.key(0), image, image, mask, mask)


def num_parameters(config: ModelConfig) -> int:
    """The number of trained values; running statistics of norms are not counted, and norms that
    are folded count as they were trained."""
    config = _with_backbone(config, folded=False)
    return sum(math.prod(x.shape) for x in jax.tree.leaves(abstract_variables(config)["params"]))


def count_flops(config: ModelConfig, height: int, width: int) -> Flops:
    """Counts one pair of images of the given size, padded to multiples of 32, without batch norm.

    The spot attention is counted as the operator defines it: two products over listed keys only.
    """
    config = _counted(config)
    params = Params(abstract_variables(config), config)
    images, mask = _inputs(height, width)
    features = jax.eval_shape(stages.encode, params, images, mask)
    coarse = jax.eval_shape(stages.aggregate, params, features, features)
    k = math.ceil(features.mask8.size * MATCHES_PER_CELL)
    points = jax.ShapeDtypeStruct((1, k, 2), jnp.float32)
    ratio = jax.ShapeDtypeStruct((1, k), jnp.float32)

    def fine(params, features0, features1, maps, points, ratio):
        def step(points1, zoom):
            given = features0, features1, *maps, points, points1, ratio, zoom
            return network(params.config).apply(params.variables, *given, method="fine")

        return in_steps(step, points, params.config.fine.zooms)

    def flops(stage, *args):
        return _jaxpr_flops(jax.make_jaxpr(stage)(*args).jaxpr)

    return Flops(
        encode=2.0 * flops(stages.encode, params, images, mask),
        coarse=float(flops(stages.aggregate, params, features, features))
        + _spot_attention_flops(config, *features.coarse8.shape[1:]),
        fine=float(flops(fine, params, features, features, coarse.maps, points, ratio)),
    )


def _with_backbone(config: ModelConfig, **changes) -> ModelConfig:
    return dataclasses.replace(config, backbone=dataclasses.replace(config.backbone, **changes))


def _counted(config: ModelConfig) -> ModelConfig:
    """The configuration for inference, with a spot attention in which no products are found."""
    aggregation = dataclasses.replace(config.aggregation, implementation="segment_sum")
    return dataclasses.replace(_with_backbone(config, folded=True), aggregation=aggregation)


def _spot_attention_flops(config: ModelConfig, h: int, w: int, channels: int) -> float:
    """Scores and their mixture of all blocks, both ways, on maps of h x w cells."""
    keys = keys_of_query(config, h, w)
    return 2.0 * 2 * config.aggregation.blocks * keys * 2 * h * w * channels


def keys_of_query(config: ModelConfig, h: int, w: int) -> int:
    """How many keys a query of the coarse stage looks at, at most, in each block; of h x w."""
    look = config.aggregation
    keys = (look.supporters + 1) * look.window**2
    if isinstance(look, SpanConfig):
        spots = keys if look.spots else 0
        keys = (2 * look.samples) ** 2 if look.samples else (2 * look.reach + 1) ** 2 + spots
    return keys + (-(-h // look.pool) * -(-w // look.pool) if look.pool else 0)


def _inputs(height: int, width: int):
    h, w = -(-height // 32) * 32, -(-width // 32) * 32
    return (
        jax.ShapeDtypeStruct((1, h, w), jnp.float32),
        jax.ShapeDtypeStruct((1, h, w), jnp.bool_),
    )


def _jaxpr_flops(jaxpr: core.Jaxpr) -> int:
    """Counts matrix products and convolutions, loops by their length."""
    total = 0
    for equation in jaxpr.eqns:
        name, shapes = equation.primitive.name, [v.aval.shape for v in equation.invars]
        out = math.prod(equation.outvars[0].aval.shape) if equation.outvars else 0
        if name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += 2 * out * math.prod(shapes[0][axis] for axis in contracted)
        elif name == "conv_general_dilated":
            kernel = equation.params["dimension_numbers"].rhs_spec  # (out, in, *space)
            total += 2 * out * math.prod(shapes[1]) // shapes[1][kernel[0]]
        elif name == "while":
            raise ValueError("The length of a while loop is not known: write it as a scan.")
        else:
            inner = [_jaxpr_flops(sub) for sub in _inside(equation.params)]
            many = equation.params["length"] if name == "scan" else 1
            total += many * (max(inner, default=0) if name == "cond" else sum(inner))
    return total


def _inside(params: dict) -> list[core.Jaxpr]:
    """The programs within an equation."""
    values = [v for p in params.values() for v in (p if isinstance(p, tuple | list) else (p,))]
    closed = [v.jaxpr if isinstance(v, core.ClosedJaxpr) else v for v in values]
    return [v for v in closed if isinstance(v, core.Jaxpr)]
