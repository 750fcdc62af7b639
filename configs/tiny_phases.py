"""tiny_phases: tiny, trained on to be right at every phase of the grid.

    astr train tiny_phases --init tiny --partial --photos DIR --workdir RUN

The truth of a cell is the up to four cells about its point, and the fine stage refines in three
steps: from a coarse match up to a cell off, to finer than a pixel. Not finished: no weights that
ship come from it. Hardware: one CPU core, 0.6 pairs a second.
"""

import dataclasses

from astr_jax.config import FineConfig, MatchingConfig
from astr_jax.configurations import read


def model():
    return dataclasses.replace(
        read("tiny").model(),
        matching=MatchingConfig(reach=1),
        fine=FineConfig(head_dim=16, zooms=(2.0, 1.0, 0.5)),
    )


def experiment():
    """The training run. Needs the "data" extra; the model alone does not."""
    from astr_jax.data.homography import HomographyConfig
    from astr_jax.training.experiment import Experiment, Stage, TrainConfig

    return Experiment(
        name="tiny",
        model=model(),
        train=TrainConfig(
            learning_rate=5e-4,
            warmup_pairs=800,
            spot_weight=4.0,
            wrong_weight=10.0,
            soft_labels=True,
            fine_loss="likelihood",
            start_jitter=3.0,
            anywhere=0.5,
            seed=5,
        ),
        data=HomographyConfig(cloud_probability=0.5, skyline_probability=0.3),
        stages=(
            Stage(
                pairs=8000,
                height=256,
                width=320,
                batch_size=8,
                start_difficulty=0.6,
                end_difficulty=0.9,
            ),
        ),
    )
