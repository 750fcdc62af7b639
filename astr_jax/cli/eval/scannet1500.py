"""Match and score ScanNet-1500: poses indoors.

examples:
  astr eval scannet1500 ROOT INDEX --out scannet.json
  astr eval scannet1500 ROOT INDEX INTRINSICS --matcher sift

ROOT has the scans, INDEX is test.npz, INTRINSICS is intrinsics.npz. astr_jax/evaluation/README.md
says what to download.
"""

import functools

from astr_jax.cli.eval import benchmark
from astr_jax.cli.eval.benchmark import GOES_ON

__all__ = ["GOES_ON", "add_arguments", "run"]

add_arguments = functools.partial(benchmark.add_arguments, name="scannet1500")
run = functools.partial(benchmark.run_benchmark, "scannet1500")
