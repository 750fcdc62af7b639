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

from astr_jax.supervision import PairBatch, PlaneTruth
from astr_jax.training import clock as clocks
from astr_jax.training import devices, loop
from astr_jax.training import step as steps
from astr_jax.training.clock import UNENDING, Clock, Every, ended, unending
from astr_jax.training.curves import read_log
from astr_jax.training.experiment import Stage
from astr_jax.training.optimiser import optimizer_of


@pytest.fixture(scope="module")
def experiment():
    """Two stages of one size, of which the second has three quarters of the pairs."""
    plain = micro_experiment(fine=False, batch=1, validates=False)
    first = Stage(pairs=10, height=64, width=96, batch_size=1, fine=False, end_difficulty=0.5)
    second = dataclasses.replace(first, pairs=30, start_difficulty=0.5, end_difficulty=1.0)
    train = dataclasses.replace(plain.train, checkpoint_every=1000)
    return dataclasses.replace(plain, stages=(first, second), train=train)


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


def small_state(experiment):
    """The state of a run of a model with four weights."""
    weights = {"params": {"w": np.ones((2, 2), np.float32)}, "batch_stats": {}}
    return steps.make_state(weights, optimizer_of(unending(experiment)))


def test_a_run_by_the_clock_ends_with_it_whatever_its_speed(experiment, tmp_path, monkeypatch):
    """A tenth of a second passes whenever the run reads its clock, and a step does nothing."""
    reads, rates = itertools.count(), []
    ticking = types.SimpleNamespace(monotonic=lambda: 0.1 * next(reads))
    monkeypatch.setattr(clocks, "time", ticking)
    monkeypatch.setattr(loop, "time", ticking)

    def step(state, batch, rate):
        rates.append(rate)
        return state.replace(step=state.step + 1), {"loss": np.float32(1), "bad": np.float32(0)}

    written = []
    monkeypatch.setattr(loop, "compiled_step", lambda *args, **options: step)
    monkeypatch.setattr(loop, "like_state", lambda *args: small_state(experiment))
    monkeypatch.setattr(loop, "first_state", lambda *args, **options: small_state(experiment))
    monkeypatch.setattr(loop, "save_weights", lambda path, *args: written.append(path.name))
    mesh = devices.data_mesh(jax.devices()[:1])
    timed = {"minutes": 0.1, "by_clock": True, "mesh": mesh, "num_threads": 1}
    loop.train(experiment, sources(), tmp_path, **timed)
    log, _ = read_log(tmp_path / "log.jsonl")
    stages = [s["pairs"] for s in json.loads((tmp_path / "experiment.json").read_text())["stages"]]
    assert sum(stages) == log[-1]["pairs"] == len(log) == len(rates)
    assert 1 <= stages[0] < stages[1] < 60
    difficulty = np.array([row["difficulty"] for row in log])
    assert (np.diff(difficulty) >= 0).all()
    assert difficulty[-1] > 0.9
    assert rates[0] > 0.8
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.2
    assert written[-1] == "weights.safetensors"
    with pytest.raises(ValueError, match="one by the clock is one piece"):
        loop.train(experiment, sources(), tmp_path, **timed)


@pytest.mark.parametrize("rate", [1.0, 0.25])
def test_the_rate_is_a_factor_on_what_a_step_changes(experiment, monkeypatch, rate):
    slope = {"w": np.full((2, 2), 0.5, np.float32)}
    scores = {"loss": jax.numpy.float32(1)}
    monkeypatch.setattr(
        steps, "make_gradient", lambda *args, **options: lambda *given: (slope, dict(scores), {})
    )
    train = dataclasses.replace(experiment.train, warmup_from=1.0, learning_rate=1e-2)
    experiment = dataclasses.replace(experiment, train=train)
    optimizer = optimizer_of(unending(experiment))
    step = steps.make_train_step(experiment.model, experiment.train, optimizer, fine=False)
    state = small_state(experiment)
    image = np.zeros((1, 8, 8), np.uint8)
    truth = PlaneTruth(np.eye(3, dtype=np.float32)[None], image > 0, image > 0)
    batch = PairBatch(image, image, None, None, truth)
    peak = train.learning_rate
    decayed = 1 + train.weight_decay
    for given, expected in (((), 1.0), ((rate,), rate)):
        changed, _ = step(state, batch, *given)
        moved = 1 - np.asarray(changed.params["w"])
        np.testing.assert_allclose(moved, expected * peak * decayed, rtol=1e-3)


def test_a_run_by_the_clock_needs_one(experiment, tmp_path):
    with pytest.raises(ValueError, match="needs its minutes"):
        loop.train(experiment, sources(), tmp_path, by_clock=True)
