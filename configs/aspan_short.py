"""aspan_short: the model of aspan_tiny trained as tiny_short trains tiny, to compare the two.

    astr train aspan_short --photos DIR --workdir RUN

8,000 pairs. Hardware: one CPU core, under 45 minutes, by estimate. Its weights are for comparisons
alone.
"""

import dataclasses

from astr_jax.configurations import read

model = read("aspan_tiny").model


def experiment():
    """The training run. Needs the "data" extra; the model alone does not."""
    return dataclasses.replace(read("tiny_short").experiment(), name="aspan_short", model=model())
