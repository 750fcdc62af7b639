"""aspan_megadepth: the span model at the sizes of astr_megadepth, and its training.

    astr train aspan_megadepth --posed megadepth ROOT --index DIR --scenes TRAIN_LIST \
        --workdir RUN

Hardware: as astr_megadepth. What the abstract of the publication says of the method is followed;
it states no sizes. So backbone, blocks, channels, data and schedule are those of astr_megadepth,
and the two differ in how the coarse stage looks alone. It was not trained here, for want of the
data: no such weights ship, and there is no score to expect.
"""

import dataclasses

from astr_jax.config import AspanConfig
from astr_jax.configurations import read


def model() -> AspanConfig:
    return AspanConfig(train_side=832)


def experiment():
    """The training run. Needs the "data" extra; the model alone does not."""
    paper = read("astr_megadepth").experiment()
    return dataclasses.replace(paper, name="aspan_megadepth", model=model())
