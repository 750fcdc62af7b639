"""tiny: ASTR for a laptop's CPU.

    python train.py configs/tiny.py --photos DIR --workdir RUN

Hardware: two CPU cores. The first stage learns to match coarsely on small pairs, the second adds
the fine stage, the third larger pairs.
"""

from astr_jax.config import AggregationConfig, BackboneConfig, FineConfig, ModelConfig
from astr_jax.data.homography import HomographyConfig
from astr_jax.training.experiment import Experiment, Stage, TrainConfig


def model() -> ModelConfig:
    return ModelConfig(
        backbone=BackboneConfig(widths=(16, 32, 64, 64, 64), blocks=(1, 2, 2, 1, 1), fine_stride=4),
        aggregation=AggregationConfig(blocks=2),
        fine=FineConfig(head_dim=16),
        train_side=320,
    )


def experiment() -> Experiment:
    return Experiment(
        name="tiny",
        model=model(),
        train=TrainConfig(learning_rate=2e-3),
        data=HomographyConfig(),
        stages=(
            Stage(
                pairs=30_000,
                height=160,
                width=192,
                fine=False,
                start_difficulty=0.0,
                end_difficulty=0.7,
            ),
            Stage(pairs=20_000, height=160, width=192, start_difficulty=0.3, end_difficulty=0.9),
            Stage(pairs=6_000, start_difficulty=0.5, end_difficulty=1.0, batch_size=8),
        ),
    )
