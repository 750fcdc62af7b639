"""tiny: ASTR for a laptop's CPU.

    astr train tiny --photos DIR --workdir RUN

Hardware: two CPU cores, about three hours, by estimate. The first stage learns to match coarsely,
the second adds the fine stage; tiny_larger goes on from there on larger pictures. The weights that
ship took a longer way: astr_jax/weights/README.md, and what they score.
"""

from astr_jax.config import AggregationConfig, BackboneConfig, FineConfig, ModelConfig


def model() -> ModelConfig:
    return ModelConfig(
        backbone=BackboneConfig(widths=(16, 32, 64, 64, 64), blocks=(1, 2, 2, 1, 1)),
        aggregation=AggregationConfig(blocks=2),
        fine=FineConfig(head_dim=16),
        train_side=320,
    )


def experiment():
    """The training run. Needs the "data" extra; the model alone does not."""
    from astr_jax.data.homography import HomographyConfig
    from astr_jax.training.experiment import Experiment, Stage, TrainConfig

    return Experiment(
        name="tiny",
        model=model(),
        train=TrainConfig(learning_rate=2e-3, spot_weight=4.0),
        data=HomographyConfig(),
        stages=(
            Stage(
                pairs=18_240,
                height=160,
                width=192,
                fine=False,
                start_difficulty=0.0,
                end_difficulty=0.425,
            ),
            Stage(pairs=32_160, height=160, width=192, start_difficulty=0.4, end_difficulty=0.9),
        ),
    )
