"""What the three compiled programs of a match need: temporary memory, and the largest buffer."""

import dataclasses
import functools
import math
import re

import jax
import jax.numpy as jnp

from astr_jax.config import ModelConfig
from astr_jax.instruments.cost import abstract_variables
from astr_jax.matching import programs
from astr_jax.matching.canvases import capacity_for
from astr_jax.ops.grids import COARSE_STRIDE
from astr_jax.params import Params


@dataclasses.dataclass(frozen=True)
class Memory:
    """Of one compiled program, for a pair of square images."""

    program: str  # "encode", "coarse" or "fine"
    temporary: int  # bytes
    largest: int  # elements of the largest buffer of the optimised program


def matching_matrix(side: int) -> int:
    """Elements that the whole matching matrix of two square images would have, N0 N1."""
    return (side // COARSE_STRIDE) ** 4


def inference_memory(config: ModelConfig, side: int) -> list[Memory]:
    """Compiles the programs that match() runs on two images of side x side pixels, unbatched,
    without intrinsics and with the larger capacity of the fine stage. Nothing is run."""
    backbone = dataclasses.replace(config.backbone, folded=True)
    config = dataclasses.replace(config, backbone=backbone)
    params = Params(abstract_variables(config), config)

    def array(*shape, dtype=jnp.float32):
        return jax.ShapeDtypeStruct(shape, dtype)

    stages = []

    def stage(program, *args, **static):
        stages.append(program.lower(params, *args, **static).compile())
        return jax.eval_shape(functools.partial(program, **static), params, *args)

    pixels, mask = array(1, side, side), array(1, side, side, dtype=bool)
    image = stage(programs.run_encode, pixels, mask, square=(side, side))
    maps, cells, _ = stage(programs.run_coarse, image, image, array(), rows=(side, side))
    cameras, sizes = (array(1, 3, 3), array(1, 3, 3)), array(2, 2)
    capacity = capacity_for(cells.cell0.shape[1], cells.cell0.shape[1])
    static = {"capacity": capacity, "estimator": "affine"}
    most = array(dtype=jnp.int32)
    stage(programs.run_fine, image, image, maps, cells, *cameras, sizes, most, **static)
    return [
        Memory(name, c.memory_analysis().temp_size_in_bytes, largest_buffer(c.as_text()))
        for name, c in zip(("encode", "coarse", "fine"), stages, strict=True)
    ]


def largest_buffer(program: str) -> int:
    """Elements of the largest array that an optimised HLO program names."""
    shapes = re.findall(r"\b(?:pred|bf16|[fsuc]\d+)\[([\d,]+)\]", program)
    return max((math.prod(map(int, s.split(","))) for s in shapes), default=0)
