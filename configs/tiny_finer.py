"""tiny_finer: the third part of training the tiny that ships, whose fine stage had stride 4 so far.

    python train.py tiny_finer --init WEIGHTS --partial --photos DIR --workdir RUN

The coarse stage goes on from the first two parts; the fine stage, of other shapes, starts fresh.
Hardware: two CPU cores, 6 pairs a second, then 2.4: 75 minutes.
"""

from configs.tiny import model


def experiment():
    """The training run. Needs the "data" extra; the model alone does not."""
    from astr_jax.data.homography import HomographyConfig
    from astr_jax.training.experiment import Experiment, Stage, TrainConfig

    return Experiment(
        name="tiny",
        model=model(),
        train=TrainConfig(learning_rate=1e-3, warmup_pairs=800, seed=1),
        data=HomographyConfig(),
        stages=(
            Stage(
                pairs=4800,
                height=192,
                width=224,
                batch_size=8,
                start_difficulty=0.4,
                end_difficulty=0.8,
            ),
            Stage(
                pairs=8800,
                height=256,
                width=320,
                batch_size=8,
                start_difficulty=0.6,
                end_difficulty=0.9,
            ),
        ),
    )
