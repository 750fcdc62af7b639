"""Compiles the whole training step for an H200 that is not there, and shows its peak memory.

    python -m astr_jax.training.aot --batch 1 2
    python -m astr_jax.training.aot --set dtype=bfloat16 --set aggregation.blocks=1

The model has the paper's sizes (configs/astr_megadepth.py), the images are squares of 832 pixels.
The peak counts parameters, optimiser, batch and temporary arrays, as the compiler lays them out.
It leaves out what cuDNN and cuBLAS take for themselves: they choose their algorithms on the device.
"""

import argparse
import sys
import time

import jax
import jax.numpy as jnp

from astr_jax.config import ModelConfig, override
from astr_jax.instruments.cost import abstract_variables
from astr_jax.supervision import PairBatch, PlaneTruth
from astr_jax.training.experiment import TrainConfig
from astr_jax.training.optimiser import make_optimizer, make_schedule
from astr_jax.training.step import make_state, make_train_step
from pallas_kernels import gpu_compiler
from pallas_kernels.target import compile_for, h200_mesh, one_line


def abstract_batch(pairs: int, side: int) -> PairBatch:
    """The shapes of a batch of padded square images, as the training step takes it."""
    image, mask, homography = (
        jax.ShapeDtypeStruct((pairs, *shape), dtype)
        for shape, dtype in (
            ((side, side), jnp.uint8),
            ((side, side), jnp.bool_),
            ((3, 3), jnp.float32),
        )
    )
    return PairBatch(image, image, mask, mask, PlaneTruth(homography, mask, mask))


def abstract_step(config: ModelConfig, pairs: int, side: int) -> tuple:
    """Returns the training step with its fine stage, and the shapes of its state and batch."""
    train = TrainConfig()
    optimizer = make_optimizer(train, make_schedule(train, 100 * pairs, lambda step: pairs * step))
    state = jax.eval_shape(lambda v: make_state(v, optimizer), abstract_variables(config))
    step = make_train_step(config, train, optimizer, fine=True)
    return step, state, abstract_batch(pairs, side)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 2], help="pairs")
    parser.add_argument("--side", type=int, default=832, help="pixels; a multiple of 32")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a field of the model, such as dtype=bfloat16; repeatable",
    )
    gpu_compiler.add_argument(parser)
    options = parser.parse_args()
    gpu_compiler.start(__spec__.name, options.env)
    config = ModelConfig(train_side=832)
    for item in options.set:
        name, _, value = item.partition("=")
        config = override(config, name, value)
    mesh, failed = h200_mesh(), False
    print(f"for {mesh.devices[0].device_kind}, jax {jax.__version__}, {' '.join(options.set)}")
    for pairs in options.batch:
        begin = time.perf_counter()
        try:
            step, *shapes = abstract_step(config, pairs, options.side)
            compiled = compile_for(mesh, step, *shapes, donate_argnums=0)
        except Exception as error:  # whatever it is, the other batches go on
            failed = True
            result = f"failed: {one_line(error)}"
        else:
            memory = compiled.memory_analysis()
            result = (
                f"peak {memory.peak_memory_in_bytes / 1e9:.1f} GB, of which temporary "
                f"{memory.temp_size_in_bytes / 1e9:.1f} GB"
            )
        print(
            f"{options.side} x {options.side}, batch {pairs}: {result}; "
            f"{time.perf_counter() - begin:.0f} s",
            flush=True,
        )
    sys.exit(failed)


if __name__ == "__main__":
    main()
