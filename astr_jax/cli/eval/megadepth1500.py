"""Match and score MegaDepth-1500: poses outdoors.

examples:
  astr eval megadepth1500 ROOT INDEX --seeds 5 --out md.json

ROOT has the data, INDEX the five index files. astr_jax/evaluation/README.md says what to download.
"""

import functools

from astr_jax.cli.eval import benchmark
from astr_jax.cli.eval.benchmark import GOES_ON

__all__ = ["GOES_ON", "add_arguments", "run"]

add_arguments = functools.partial(benchmark.add_arguments, name="megadepth1500")
run = functools.partial(benchmark.run_benchmark, "megadepth1500")
