"""tiny_short: the model of tiny trained briefly, to compare one way of training with another.

    astr train tiny_short --photos DIR --workdir RUN --set worlds_share=0.5

Hardware: one CPU core, under 45 minutes. Its weights are for comparisons alone.
"""

from astr_jax.configurations import read

model = read("tiny").model


def experiment():
    """The training run. Needs the "data" extra; the model alone does not."""
    from astr_jax.data.homography import HomographyConfig
    from astr_jax.training.experiment import Experiment, Stage, TrainConfig

    return Experiment(
        name="tiny_short",
        model=model(),
        train=TrainConfig(learning_rate=2e-3, warmup_pairs=800),
        data=HomographyConfig(),
        stages=(
            Stage(
                pairs=3200,
                height=192,
                width=224,
                batch_size=8,
                fine=False,
                start_difficulty=0.0,
                end_difficulty=0.4,
            ),
            Stage(
                pairs=4800,
                height=192,
                width=224,
                batch_size=8,
                start_difficulty=0.3,
                end_difficulty=0.8,
            ),
        ),
    )
