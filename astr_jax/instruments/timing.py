"""How long the stages of a match and whole matches take, in turns with what stands beside."""

import contextlib
import dataclasses
import functools
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np
from jax.experimental.compilation_cache import compilation_cache
from jaxtyping import UInt8

from astr_jax.matching import Matcher, MatchOptions
from astr_jax.matching.polishing import polished
from astr_jax.params import Params

Task = Callable[[], object]  # jax.block_until_ready is called with what it returns
DEFAULT = 'scales="auto"'
# Matches; the last two have scales="auto" too.
WHOLE = (DEFAULT, "scales=1", "upright=True", "upright=False")
REFINE, FINE = "refine", "fine"  # with the scale ratios estimated, and with every one given
POLISH = "polish"


@dataclasses.dataclass(frozen=True)
class Seconds:
    """Of one call: by the clock, and of CPU time of all threads of this process."""

    wall: float
    cpu: float


@dataclasses.dataclass(frozen=True)
class Timing:
    """Calls of one task."""

    first: Seconds  # with all that is compiled in it
    runs: tuple[Seconds, ...]  # the calls after it

    @property
    def median(self) -> Seconds:
        """Of the calls after the first."""
        return median_of(self.runs)

    @property
    def compiling(self) -> float:
        """Seconds by the clock that the first call took longer."""
        return max(0.0, self.first.wall - self.median.wall)


def median_of(runs: tuple[Seconds, ...]) -> Seconds:
    """The median of each of the two times."""
    return Seconds(
        statistics.median(run.wall for run in runs), statistics.median(run.cpu for run in runs)
    )


def in_turns(tasks: Mapping[str, Task], repeat: int) -> dict[str, Timing]:
    """Times tasks A, B, C in the order A B C A B C, so that what slows a machine down for a while
    slows them all. The first round compiles; it is no run."""
    first, *rounds = [
        {name: seconds_of(task) for name, task in tasks.items()} for _ in range(repeat + 1)
    ]
    return {name: Timing(first[name], tuple(found[name] for found in rounds)) for name in tasks}


def seconds_of(task: Task) -> Seconds:
    """Calls a task, and waits until its result is there."""
    wall, cpu = time.perf_counter(), time.process_time()
    jax.block_until_ready(task())
    return Seconds(time.perf_counter() - wall, time.process_time() - cpu)


def longer(timing: Timing, other: Timing) -> Seconds:
    """How much longer a task takes than another: the median of the differences in each round."""
    pairs = zip(timing.runs, other.runs, strict=True)
    return median_of(tuple(Seconds(a.wall - b.wall, a.cpu - b.cpu) for a, b in pairs))


def match_tasks(
    params: Params, image0: UInt8[np.ndarray, "h w"], image1: UInt8[np.ndarray, "h1 w1"]
) -> dict[str, Task]:
    """Whole matches of two pictures at their full size, and the stages of one.

    The whole matches come first and compile what the stages need. "encode" is of image 0. "first
    look" encodes both images at half the size and less, and matches them coarsely. "fine" refines
    with every scale ratio given as 1, "refine" with ratios that are estimated first; "polish" is
    the least-squares matching after it.
    """
    side = max(*image0.shape, *image1.shape)
    auto, one, *others = (
        Matcher(params, MatchOptions(resize=side, **options))
        for options in ({}, {"scales": 1}, {"upright": True}, {"upright": False})
    )

    def encoded(matcher: Matcher):
        return matcher.encode(image0, name="image0"), matcher.encode(image1, name="image1")

    def matched(matcher: Matcher):
        return lambda: matcher.match(*encoded(matcher)).valid

    def coarse():
        candidates = one.candidates(*kept)
        return candidates.maps, candidates.cells

    kept = encoded(one)
    candidates = functools.cache(lambda: one.candidates(*kept))
    refined = functools.cache(lambda: one.refine(candidates()))
    return {
        **dict(zip(WHOLE, map(matched, (auto, one, *others)), strict=True)),
        "encode": lambda: encoded(one)[0].features,
        "first look": lambda: auto.plan(*encoded(auto)),
        "coarse": coarse,
        REFINE: lambda: one.refine(candidates()).valid,
        FINE: lambda: one.refine(candidates(), ratio=1.0).valid,
        POLISH: lambda: polished(refined(), *(image.prepared for image in kept), side)[0].valid,
    }


def matched_at(params: Params, image0, image1) -> tuple[tuple[float, ...], int]:
    """The scales that scales="auto" matches two pictures at, and how many matches it finds."""
    matcher = Matcher(params, MatchOptions(resize=max(*image0.shape, *image1.shape)))
    images = matcher.encode(image0, name="image0"), matcher.encode(image1, name="image1")
    return matcher.plan(*images)[1], len(matcher.match(*images).compact())


@contextlib.contextmanager
def compiled_anew() -> Iterator[pathlib.Path]:
    """Nothing compiled before is read; what is compiled now is kept in a folder for processes that
    this one starts, until the end."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    with tempfile.TemporaryDirectory(prefix="astr-bench-") as folder:
        jax.clear_caches()
        try:
            _keep(dict(zip(names, (folder, 0.0), strict=True)))
            yield pathlib.Path(folder)
        finally:
            _keep(before)


def _keep(settings: Mapping[str, str | float | None]) -> None:
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
