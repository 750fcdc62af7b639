"""tiny_views: how the tiny that ships learnt from real places, and to be right at every phase.

    astr train tiny_views --init WEIGHTS --photos DIR --tracks SCENES --workdir RUN

WEIGHTS come from tiny_clouds. Half of the batches are homographies, half are pairs of real scenes,
by the tracks of their models. The truth of a cell is the up to four cells about its point, and the
fine stage refines in three steps: from a coarse match up to a cell off, to finer than a pixel.
Hardware: one H100, 215 pairs a second: 8 minutes. Two CPU cores: about a day, by estimate.
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
    from astr_jax.training.experiment import Experiment, Stage, TrainConfig, ValidationConfig

    return Experiment(
        name="tiny",
        model=model(),
        train=TrainConfig(
            learning_rate=1e-3,
            spot_weight=4.0,
            wrong_weight=10.0,
            soft_labels=True,
            fine_loss="likelihood",
            start_jitter=3.0,
            anywhere=0.5,
            ema_decay=0.998,
            seed=7,
        ),
        data=HomographyConfig(cloud_probability=0.5, skyline_probability=0.3),
        tracks_share=0.5,
        validation=ValidationConfig(posed_pairs=0),
        stages=(
            Stage(
                pairs=99_200,
                height=256,
                width=320,
                batch_size=32,
                start_difficulty=0.6,
                end_difficulty=0.9,
            ),
        ),
    )
