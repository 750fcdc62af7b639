"""Match pairs of images with known geometry, and score the matches.

examples:
  astr eval pairs DIR                                  the model that ships
  astr eval pairs DIR --weights best.safetensors --out best.json
  astr eval pairs DIR --matcher sift --out sift.json
  astr eval pairs DIR --matcher package.module:function --sets et,kermit
  astr eval pairs DIR --no-upright                     where one picture may lie turned

DIR has an index.json beside its images, or folders that have one. A function given as a matcher is
called as match(img0, img1) with uint8 grey arrays, and with K0=, K1= if it takes them. It returns
keypoints0 [k 2], keypoints1 [k 2], confidence [k] and, if it has it, sigma [k]. With --out a run
that was killed goes on by the same command.
"""

import functools

from astr_jax.cli.eval import benchmark
from astr_jax.cli.eval.benchmark import GOES_ON

__all__ = ["GOES_ON", "add_arguments", "run"]

add_arguments = functools.partial(benchmark.add_arguments, name="pairs")
run = functools.partial(benchmark.run_benchmark, "pairs")
