"""Match and score pairs of COLMAP models.

examples:
  astr eval colmap SCENE SCENE --per-band 100 --out mine.json

A SCENE has images/ and sparse/, a model of COLMAP. Pairs are drawn from bands of overlap.
"""

import functools

from astr_jax.cli.eval import benchmark
from astr_jax.cli.eval.benchmark import GOES_ON

__all__ = ["GOES_ON", "add_arguments", "run"]

add_arguments = functools.partial(benchmark.add_arguments, name="colmap")
run = functools.partial(benchmark.run_benchmark, "colmap")
