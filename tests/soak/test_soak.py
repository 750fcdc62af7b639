"""Four threads that match without end: memory, open files and compiled programs stay level.

`make soak MINUTES=30` runs it and writes build/soak.json and build/soak.png; the suite only tries
the judge of the levels.
"""

import collections
import dataclasses
import json
import os
import pathlib
import threading
import time

import calls
import levels
import numpy as np
import pytest
from drawing import draw_levels

from astr_jax.files import replacing
from astr_jax.params import Calibration, Params, fold_params

MINUTES = float(os.environ.get("ASTR_SOAK", "0"))
THREADS = 4
SAMPLES = 200  # levels of a run
LEAST_CALLS = 1000  # of a run: with fewer most of it is compiling
BUILD = pathlib.Path(__file__).parents[2] / "build"


@pytest.fixture(scope="module")
def params(nano_config, nano_variables):
    return fold_params(Params(nano_variables, nano_config, Calibration(threshold=0.0)))


class Workers:
    """Threads that call until they are told to stop, and what came of it."""

    def __init__(self, params, folder):
        self.stop, self.lock = threading.Event(), threading.Lock()
        self.made, self.wrong = collections.Counter(), []
        self.threads = [
            threading.Thread(target=self._work, args=(params, folder, seed), daemon=True)
            for seed in range(THREADS)
        ]

    def _work(self, params, folder, seed):
        rng = np.random.default_rng(seed)
        while not self.stop.is_set():
            try:
                kind = calls.any_call(params, folder, rng)
            except Exception as error:
                self.wrong.append(f"{type(error).__name__}: {error}")
                self.stop.set()
                return
            with self.lock:
                self.made[kind] += 1

    def run(self, seconds):
        """Levels at equal times, the last one when the time is up."""
        start, found = time.monotonic(), []
        for thread in self.threads:
            thread.start()
        for k in range(1, SAMPLES + 1):
            self.stop.wait(max(0.0, start + k * seconds / SAMPLES - time.monotonic()))
            if self.stop.is_set():
                break
            found.append(levels.level(time.monotonic() - start, self.made.total()))
        self.stop.set()
        for thread in self.threads:
            thread.join(timeout=300)
        return found


@pytest.mark.skipif(not MINUTES, reason="make soak runs it")
@pytest.mark.filterwarnings("ignore")
def test_four_threads_keep_their_levels(params, tmp_path):
    workers = Workers(params, tmp_path)
    found = workers.run(60 * MINUTES)
    assert workers.wrong == []
    report = {
        "minutes": MINUTES,
        "threads": THREADS,
        "calls": dict(sorted(workers.made.items())),
        "growth_in_last_quarter": {name: levels.growth(found, name) for name in levels.LIMITS},
        "limits": levels.LIMITS,
        "levels": [dataclasses.asdict(x) for x in found],
    }
    BUILD.mkdir(exist_ok=True)
    with replacing(BUILD / "soak.json") as beside:
        beside.write_text(json.dumps(report, indent=1) + "\n")
    with replacing(BUILD / "soak.png") as beside:
        draw_levels(found, report["calls"]).savefig(beside, dpi=110)
    print(json.dumps({name: x for name, x in report.items() if name != "levels"}, indent=1))
    assert not any(thread.is_alive() for thread in workers.threads)
    assert not list(tmp_path.iterdir())
    assert workers.made.total() >= LEAST_CALLS, "too few calls to judge by: give it more minutes"
    assert levels.grown(found) == {}


def series(**of):
    """Levels of 40 moments; of: functions of the moment."""
    flat = dict.fromkeys(levels.LIMITS, 100.0)
    return [
        levels.Level(seconds=10.0 * k, calls=k, **flat | {name: at(k) for name, at in of.items()})
        for k in range(40)
    ]


@pytest.mark.parametrize(("name", "leak"), [("memory", 3.0), ("files", 0.2), ("programs", 0.3)])
def test_what_grows_to_the_end_is_a_leak(name, leak):
    assert list(levels.grown(series(**{name: lambda k: 100 + int(leak * k)}))) == [name]


def test_what_grows_at_first_and_peaks_later_is_none():
    noise = np.random.default_rng(0).normal(0, 20, 40)
    assert levels.grown(series()) == {}
    assert levels.grown(series(programs=lambda k: min(k, 15))) == {}
    assert levels.grown(series(memory=lambda k: 900 + noise[k] + 400 * (k > 36))) == {}


def test_a_slow_start_is_no_leak_and_hides_none():
    late = [dataclasses.replace(x, calls=int(1.3**k)) for k, x in enumerate(series())]
    compiling = [dataclasses.replace(x, memory=100.0 * min(k, 33)) for k, x in enumerate(late)]
    assert levels.grown(compiling) == {}
    leaking = [dataclasses.replace(x, memory=100 + x.calls / 500) for x in late]
    assert list(levels.grown(leaking)) == ["memory"]


def test_two_quarters_need_levels():
    with pytest.raises(ValueError, match="last two quarters"):
        levels.growth(series()[:1], "memory")


@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").exists(), reason="reads /proc")
def test_a_level_sees_files_arrays_and_threads():
    before = levels.level(0.0, 0)
    with open(os.devnull):
        after = levels.level(1.0, 5)
    assert after.files == before.files + 1
    assert after.memory > 1
    assert after.threads >= 1
