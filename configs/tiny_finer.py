"""tiny_finer: how the tiny that ships got its fine stage of stride 2.

    astr train tiny_finer --init WEIGHTS --partial --photos DIR --workdir RUN

WEIGHTS were trained by tiny and tiny_larger with --set model.backbone.fine_stride=4. The coarse
stage goes on from there, the fine stage, of other shapes, starts fresh. Hardware: two CPU cores, 5
pairs a second, then 2.7: 75 minutes. Mean pose AUC@10 of the development sets: 62.0, from 58.0.
"""

from astr_jax.configurations import read

model = read("tiny").model


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
