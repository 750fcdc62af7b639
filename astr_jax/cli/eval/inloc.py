"""Match a list of pairs of InLoc, for hloc.

examples:
  astr eval inloc DATASET pairs-query.txt --out DIR

Writes DIR/features.h5 and DIR/matches-LIST.h5, which hloc reads, and prints hloc's command to go on
with. LIST has a pair of pictures a line, as hloc makes it. Killed half-way, the same command goes
on.
"""

import functools

from astr_jax.cli.eval import localisation
from astr_jax.cli.eval.localisation import GOES_ON, add_arguments

__all__ = ["GOES_ON", "add_arguments", "run"]

run = functools.partial(localisation.run_localisation, "inloc")
