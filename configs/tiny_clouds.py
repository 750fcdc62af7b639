"""tiny_clouds: how the tiny that ships learnt to leave clouds alone.

    astr train tiny_clouds --init WEIGHTS --photos DIR --workdir RUN

WEIGHTS come from tiny_finer. Skies with drifting clouds are put into the photographs, and wrong
matches are held against the model, which the paper's losses do not do. Hardware: two CPU cores, 2.3
pairs a second: 42 minutes. Mean pose AUC@10 of the development sets: 63.4, from 62.0.
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
        train=TrainConfig(learning_rate=5e-4, warmup_pairs=800, wrong_weight=10.0, seed=2),
        data=HomographyConfig(cloud_probability=1.0, skyline_probability=0.3),
        stages=(
            Stage(
                pairs=5600,
                height=256,
                width=320,
                batch_size=8,
                start_difficulty=0.6,
                end_difficulty=0.9,
            ),
        ),
    )
