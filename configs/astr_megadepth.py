"""astr_megadepth: the paper's model, and its training on MegaDepth.

    astr train astr_megadepth --posed megadepth ROOT --index DIR --scenes TRAIN_LIST \
        --workdir RUN

Hardware: the paper does not say; 8 GPUs with 24 GB, one pair each, are an estimate, or one with
80 GB. Every number is the paper's (supplement 2.1 and Figure 2): 832 x 832, zero-padded squares
with masks; 15 epochs of 368 sub-scenes x 100 pairs; 8 pairs a step, so 4,600 steps an epoch; the
rate from 1e-4 to 1e-3 over 15,000 steps, halved after epochs 4, 6, 8, 10 and 12; AdamW with weight
decay 0.1, gradients clipped to 0.5; half of the coarse ground truth, a fifth for the fine stage.
The weights' mean of the last steps is kept beside them. Some scenes are held back for validation.
It was not trained here, for want of the data: no such weights ship.
Score: pose AUC@5/10/20 on MegaDepth-1500 of 58.4 / 73.1 / 83.8, as published.
"""

from astr_jax.config import ModelConfig

EPOCH = 368 * 100  # pairs


def model() -> ModelConfig:
    return ModelConfig(train_side=832)


def experiment():
    """The training run. Needs the "data" extra; the model alone does not."""
    from astr_jax.data.homography import HomographyConfig
    from astr_jax.training.experiment import Experiment, Stage, TrainConfig

    return Experiment(
        name="astr_megadepth",
        model=model(),
        train=TrainConfig(
            learning_rate=1e-3,
            warmup_from=0.1,
            warmup_pairs=15_000 * 8,
            halve_at=tuple(epoch * EPOCH for epoch in (4, 6, 8, 10, 12)),
            weight_decay=0.1,
            clip=0.5,
            coarse_share=0.5,
            fine_share=0.2,
            validate_every=EPOCH // 2,
            milestone_every=EPOCH,
            checkpoint_every=4000,
        ),
        data=HomographyConfig(),
        posed_share=1.0,
        per_scene=100,
        stages=(Stage(pairs=15 * EPOCH, height=832, width=832, batch_size=8),),
    )
