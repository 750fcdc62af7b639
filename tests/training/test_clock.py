"""A run by the clock: shares of the time, and a run that follows them."""

import dataclasses
import itertools
import json
import types

import jax
import numpy as np
import pytest
from micro_run import experiment as micro_experiment
from micro_run import sources

from astr_jax.training import clock as clocks
from astr_jax.training import devices, loop
from astr_jax.training.clock import UNENDING, Clock, Every, ended, unending
from astr_jax.training.curves import read_log
from astr_jax.training.experiment import Stage


@pytest.fixture(scope="module")
def experiment():
    """Two stages of one size, of which the second has three quarters of the pairs."""
    plain = micro_experiment(fine=False, batch=1, validates=False)
    first = Stage(pairs=10, height=64, width=96, batch_size=1, fine=False, end_difficulty=0.5)
    second = dataclasses.replace(first, pairs=30, start_difficulty=0.5, end_difficulty=1.0)
    return dataclasses.replace(plain, stages=(first, second))


def test_stages_difficulty_and_rate_have_their_shares_of_the_time(experiment, monkeypatch):
    now = types.SimpleNamespace(at=100.0)
    monkeypatch.setattr(clocks, "time", types.SimpleNamespace(monotonic=lambda: now.at))
    clock, found = Clock.of(experiment, 40.0), []
    for now.at in (100, 105, 110, 125, 140, 150):
        found.append((clock.share(), clock.within(0), clock.within(1), clock.rate()))
    least = experiment.train.least_learning_rate / experiment.train.learning_rate
    rates = [least + (1 - least) * (1 + np.cos(np.pi * t)) / 2 for t in (0, 1 / 8, 1 / 4, 5 / 8, 1)]
    assert found[-1] == found[-2]
    np.testing.assert_allclose(
        found[:-1],
        [
            [0, 0, 0, rates[0]],
            [1 / 8, 0.5, 0, rates[1]],
            [1 / 4, 1, 0, rates[2]],
            [5 / 8, 1, 0.5, rates[3]],
            [1, 1, 1, rates[4]],
        ],
    )


def test_it_is_time_once_in_so_many_seconds(monkeypatch):
    monkeypatch.setattr(
        clocks, "time", types.SimpleNamespace(monotonic=iter([0, 59, 60, 61, 119, 130]).__next__)
    )
    every = Every(60)
    assert [every.due() for _ in range(5)] == [False, True, False, False, True]


def test_the_experiment_says_how_long_stages_were_in_the_end(experiment):
    endless = unending(experiment)
    assert [stage.pairs for stage in endless.stages] == [UNENDING, UNENDING]
    assert [stage.pairs for stage in ended(endless, 0, 7).stages] == [7, UNENDING]
    for changes in ({"start_pairs": 5}, {"halve_at": (5,)}):
        train = dataclasses.replace(experiment.train, **changes)
        with pytest.raises(ValueError, match="a run by the clock"):
            unending(dataclasses.replace(experiment, train=train))


def test_a_run_by_the_clock_ends_with_it_whatever_its_speed(experiment, tmp_path, monkeypatch):
    """A second passes whenever the run reads its clock; the machine's own speed does not matter."""
    reads = itertools.count()
    ticking = types.SimpleNamespace(monotonic=lambda: 0.1 * next(reads))
    monkeypatch.setattr(clocks, "time", ticking)
    monkeypatch.setattr(loop, "time", ticking)
    mesh = devices.data_mesh(jax.devices()[:1])
    loop.train(
        experiment, sources(), tmp_path, minutes=0.1, by_clock=True, mesh=mesh, num_threads=1
    )
    log, _ = read_log(tmp_path / "log.jsonl")
    stages = [s["pairs"] for s in json.loads((tmp_path / "experiment.json").read_text())["stages"]]
    assert sum(stages) == log[-1]["pairs"] == len(log)
    assert 1 <= stages[0] < stages[1] < 60
    difficulty = np.array([row["difficulty"] for row in log])
    assert (np.diff(difficulty) >= 0).all()
    assert difficulty[-1] > 0.9
    rates = np.array([row["learning_rate"] for row in log])
    assert rates[-1] < 0.2 * rates.max()
    assert (tmp_path / "weights.safetensors").exists()
    with pytest.raises(ValueError, match="one by the clock is one piece"):
        loop.train(experiment, sources(), tmp_path, minutes=1, by_clock=True, mesh=mesh)


def test_a_run_by_the_clock_needs_one(experiment, tmp_path):
    with pytest.raises(ValueError, match="needs its minutes"):
        loop.train(experiment, sources(), tmp_path, by_clock=True)
