"""astr_megadepth: the paper's sizes.

    astr info --config astr_megadepth

The paper trains it on MegaDepth (supplement 2.1 and Figure 2), as follows. The repository has no
MegaDepth data yet, so this file has a model and no experiment, and no such weights ship.

Images:        832 x 832, zero-padded squares with masks (ablations: 544).
Length:        15 epochs of 368 sub-scenes x 100 pairs: 4,600 steps each, 70k steps in all.
Batch:         8 pairs over all devices.
Learning rate: 1e-4 to 1e-3 linearly over 15,000 steps, halved after epochs 4, 6, 8, 10 and 12
               (18.4k, 27.6k, 36.8k, 46k and 55.2k steps).
Optimiser:     AdamW, weight decay 0.1, gradients clipped to a global norm of 0.5.
Supervision:   50 % of the coarse ground truth, drawn anew each step; 20 % of the most possible
               coarse matches for the fine stage.
Score:         pose AUC@5/10/20 on MegaDepth-1500 of 58.4 / 73.1 / 83.8, as published.
"""

from astr_jax.config import ModelConfig


def model() -> ModelConfig:
    return ModelConfig(train_side=832)
