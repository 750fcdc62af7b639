"""Compile ahead what matches need, and keep it, so that the first match is quick.

examples:
  astr warm                         the weights that ship, at the default size
  astr warm --resize 1024           at another limit of the long side
  astr warm --intrinsics            for pairs whose cameras are known, too

Programs are kept in a cache folder of yours: $XDG_CACHE_HOME/astr_jax, else ~/.cache/astr_jax. Set
ASTR_JAX_CACHE to another folder, or to off, or JAX_COMPILATION_CACHE_DIR as for any JAX program. A
first match compiles the same where nothing was compiled ahead.
"""

import collections
import contextlib
import time
from collections.abc import Iterator

import jax
import numpy as np
from rich.progress import track

from astr_jax import api
from astr_jax.cli.match import add_weights
from astr_jax.compiled import VARIABLE, keep_compiled
from astr_jax.matching import RESIZE, Matcher, MatchOptions
from astr_jax.matching.warming import programs_to_warm


def add_arguments(parser) -> None:
    """The options of astr warm."""
    add_weights(parser)
    parser.add_argument(
        "--resize", type=int, default=RESIZE, metavar="N", help="limit of the long side [640]"
    )
    parser.add_argument(
        "--intrinsics", action="store_true", help="also what matches with K0 and K1 need"
    )


def run(options) -> None:
    """Compiles, and says where it is kept."""
    folder = keep_compiled()
    if folder is None:
        raise ValueError(
            f"nothing is kept: {VARIABLE} or JAX_ENABLE_COMPILATION_CACHE switches it off, or the "
            "folder cannot be written to."
        )
    params = api.load(options.weights)
    matcher = Matcher(params, MatchOptions(resize=options.resize))
    side = float(options.resize)
    cameras = [None, np.array([[side, 0, side / 2], [0, side, side / 2], [0, 0, 1]])]
    start = time.perf_counter()
    with counted() as found:
        for K in cameras if options.intrinsics else cameras[:1]:
            for _, compile_it in track(list(programs_to_warm(matcher, K)), "compiling"):
                compile_it()
    new, seconds = found["cache_misses"], time.perf_counter() - start
    programs = new + found["cache_hits"]
    print(f"{programs} programs, {new} of them new, in {seconds:.0f} s; kept in {folder}")


@contextlib.contextmanager
def counted() -> Iterator[collections.Counter[str]]:
    """Counts the programs that JAX reads from its folder (cache_hits) and puts there
    (cache_misses)."""
    found = collections.Counter[str]()

    def count(event: str, **_) -> None:
        found[event.rpartition("/")[2]] += 1

    jax.monitoring.register_event_listener(count)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_listener(count)
