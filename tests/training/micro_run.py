"""A run of ten steps in a process of its own: python micro_run.py WORKDIR [--pairs N] [--fine]
[--process I --coordinator HOST:PORT]. The options give the pairs of a step, train the fine stage
too, and make it one of two processes."""

import argparse
import pathlib
import resource

import jax
import numpy as np

from astr_jax.config import (
    AggregationConfig,
    BackboneConfig,
    FineConfig,
    MatchingConfig,
    ModelConfig,
)
from astr_jax.data.homography import HomographyConfig
from astr_jax.training import devices, loop
from astr_jax.training.batches import Sources
from astr_jax.training.experiment import Experiment, Stage, TrainConfig, ValidationConfig

STEPS, BATCH = 10, 8


def experiment(*, fine: bool, batch: int = BATCH, validates: bool = True) -> Experiment:
    """Ten steps of a model of the fewest channels, each step in the log and in a checkpoint."""
    return Experiment(
        name="micro",
        model=ModelConfig(
            backbone=BackboneConfig(widths=(4, 8, 8, 8, 8), blocks=(1,) * 5, fine_stride=4),
            aggregation=AggregationConfig(blocks=1, head_dim=4),
            matching=MatchingConfig(threshold=0.0, block=64),
            fine=FineConfig(head_dim=4, zooms=(1.0,)),
            train_side=96,
        ),
        train=TrainConfig(
            seed=1,
            warmup_pairs=batch,
            learning_rate=1e-4,
            log_every=1,
            checkpoint_every=batch,
            validate_every=100 * batch,
        ),
        data=HomographyConfig(),
        stages=(Stage(pairs=STEPS * batch, height=64, width=96, batch_size=batch, fine=fine),),
        validation=ValidationConfig(photo_pairs=int(validates), posed_pairs=0),
    )


def sources() -> Sources:
    """Photographs of noise, which always have something to match."""
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (120, 160), dtype=np.uint8) for _ in range(3)]
    return Sources(photos=photos, validation_photos=photos)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workdir", type=pathlib.Path)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--coordinator")
    parser.add_argument("--process", type=int)
    parser.add_argument("--fine", action="store_true", help="train the fine stage too")
    parser.add_argument("--largest-file", type=int, help="bytes; as on a disk that is nearly full")
    arguments = parser.parse_args()
    if arguments.largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (arguments.largest_file, resource.RLIM_INFINITY))
    jax.config.update("jax_disable_most_optimizations", True)
    jax.config.update("jax_num_cpu_devices", 1)
    if arguments.coordinator:
        devices.join(arguments.coordinator, 2, arguments.process)
    chosen = experiment(fine=arguments.fine, batch=arguments.pairs, validates=False)
    loop.train(chosen, sources(), arguments.workdir, num_threads=1)


if __name__ == "__main__":
    main()
