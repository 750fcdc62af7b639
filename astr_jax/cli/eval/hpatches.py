"""Match and score HPatches: homographies.

examples:
  astr eval hpatches ROOT --max-matches 1000 --out hpatches.json

ROOT has the sequences v_* and i_*. astr_jax/evaluation/README.md says what to download.
"""

import functools

from astr_jax.cli.eval import benchmark
from astr_jax.cli.eval.benchmark import GOES_ON

__all__ = ["GOES_ON", "add_arguments", "run"]

add_arguments = functools.partial(benchmark.add_arguments, name="hpatches")
run = functools.partial(benchmark.run_benchmark, "hpatches")
