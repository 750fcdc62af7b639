"""How much a process holds at a moment, and whether it keeps growing."""

import dataclasses
import gc
import os
import pathlib
import resource
from collections.abc import Sequence

import jax
import jax.extend
import numpy as np

# What the last quarter of the calls may leave more than the quarter before, however many they are.
LIMITS = {"memory": 16.0, "files": 1.0, "programs": 2.0, "arrays": 30.0, "threads": 1.0}
UNITS = {"memory": "resident memory, MiB", "files": "open files", "programs": "compiled programs"}
UNITS |= {"arrays": "JAX arrays", "threads": "threads"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Level:
    """What the process holds after so many seconds and calls."""

    seconds: float
    calls: int
    memory: float  # MiB, resident
    files: int  # open
    programs: int  # compiled, and not forgotten
    arrays: int  # of JAX
    threads: int


def level(seconds: float, calls: int) -> Level:
    """What this process holds now, once what nobody holds is collected. Linux alone."""
    gc.collect()
    own = pathlib.Path("/proc/self")
    pages = int((own / "statm").read_text().split()[1])
    return Level(
        seconds=seconds,
        calls=calls,
        memory=pages * resource.getpagesize() / 2**20,
        files=len(os.listdir(own / "fd")),
        programs=len(jax.extend.backend.get_backend().live_executables()),
        arrays=len(jax.live_arrays()),
        threads=len(os.listdir(own / "task")),
    )


def growth(levels: Sequence[Level], name: str) -> float:
    """How much more the last quarter of the calls leaves than the quarter before, by their medians:
    peaks count for nothing. By calls, since what leaks leaks with them; where a machine is slow to
    compile, most calls come late."""
    end = levels[-1].calls
    quarters = [
        [getattr(x, name) for x in levels if low * end < x.calls <= (low + 0.25) * end]
        for low in (0.5, 0.75)
    ]
    if not all(quarters):
        raise ValueError(f"the last two quarters need levels; got {list(map(len, quarters))}.")
    return float(np.median(quarters[1]) - np.median(quarters[0]))


def grown(levels: Sequence[Level]) -> dict[str, float]:
    """What has grown beyond its limit, and by how much."""
    found = {name: growth(levels, name) for name in LIMITS}
    return {name: by for name, by in found.items() if by > LIMITS[name]}
