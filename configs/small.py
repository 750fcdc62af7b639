"""small: ASTR for one GPU, and for a patient CPU.

    astr train small --photos DIR --workdir RUN

Hardware: one GPU. As tiny, it learns to match coarsely on small pairs first, then with the fine
stage, then on larger pairs. All four spot-guided blocks and the fine stage at 1/2, as the paper;
under half its channels. No weights of it ship yet, so there is no score to expect.
"""

from astr_jax.config import BackboneConfig, FineConfig, ModelConfig


def model() -> ModelConfig:
    return ModelConfig(
        backbone=BackboneConfig(widths=(48, 64, 96, 96, 96), fine_stride=2),
        fine=FineConfig(head_dim=16),
        train_side=480,
    )


def experiment():
    """The training run. Needs the "data" extra; the model alone does not."""
    from astr_jax.data.homography import HomographyConfig
    from astr_jax.training.experiment import Experiment, Stage, TrainConfig

    return Experiment(
        name="small",
        model=model(),
        train=TrainConfig(
            learning_rate=1e-3,
            spot_weight=4.0,
            validate_every=16_000,
            checkpoint_every=16_000,
            log_every=50,
        ),
        data=HomographyConfig(),
        stages=(
            Stage(
                pairs=160_000,
                height=192,
                width=256,
                batch_size=32,
                fine=False,
                start_difficulty=0.0,
                end_difficulty=0.8,
            ),
            Stage(pairs=160_000, batch_size=32, start_difficulty=0.4, end_difficulty=1.0),
            Stage(pairs=80_000, height=384, width=480, batch_size=16, start_difficulty=0.7),
        ),
    )
