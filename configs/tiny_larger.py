"""tiny_larger: the second part of training tiny, on larger pictures.

    astr train tiny_larger --init runs/tiny/weights.safetensors --photos DIR --workdir RUN

A matching matrix of 320 x 256 pictures has seven times the entries of one of 192 x 160: whoever
matches photographs of 640 pixels has to tell a cell from many more. Hardware: one CPU core, 65
minutes (measured with a fine stage of stride 4).
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
        train=TrainConfig(learning_rate=6e-4, warmup_pairs=480, spot_weight=4.0),
        data=HomographyConfig(),
        stages=(
            Stage(
                pairs=4800,
                height=256,
                width=320,
                batch_size=8,
                start_difficulty=0.5,
                end_difficulty=0.9,
            ),
        ),
    )
