"""aspan_tiny: the span model for a laptop's CPU, of the channels and blocks of tiny.

    astr train aspan_tiny --photos DIR --workdir RUN

A query looks at 100 keys at most, where tiny looks at 125: `astr info --config aspan_tiny` and
`--config tiny` compare what they cost. Hardware: two CPU cores, about three hours, by estimate. No
weights of it ship, so there is no score to expect.
"""

import dataclasses

from astr_jax.config import AspanConfig, SpanConfig
from astr_jax.configurations import read


def model() -> AspanConfig:
    tiny = read("tiny").model()
    return AspanConfig(
        backbone=tiny.backbone,
        aggregation=SpanConfig(blocks=2),
        fine=tiny.fine,
        train_side=tiny.train_side,
    )


def experiment():
    """The training run. Needs the "data" extra; the model alone does not."""
    return dataclasses.replace(read("tiny").experiment(), name="aspan_tiny", model=model())
