"""A run that is stopped and goes on is the run that never stopped."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from astr_jax.data.homography import HomographyConfig
from astr_jax.params import load_params
from astr_jax.training import loop
from astr_jax.training.curves import draw_curves, read_log
from astr_jax.training.experiment import Experiment, Stage, TrainConfig
from astr_jax.training.step import make_optimizer


@pytest.fixture
def experiment(micro_config):
    """Two stages of two steps of one pair each, validated at every pair."""
    stage = Stage(pairs=2, height=64, width=96, batch_size=1)
    return Experiment(
        name="micro",
        model=micro_config,
        train=TrainConfig(warmup_pairs=2, log_every=1, validate_every=2, checkpoint_every=1),
        data=HomographyConfig(),
        stages=(dataclasses.replace(stage, fine=False), stage),
    )


@pytest.fixture
def photos():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (120, 160), dtype=np.uint8) for _ in range(3)]


def leaves(params):
    return jax.tree.leaves(params.variables)


def test_a_run_resumes_where_it_stopped_and_ends_the_same(
    experiment, photos, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "VALIDATION_PAIRS", 1)
    monkeypatch.setattr(loop, "VALIDATION_BATCH", 1)
    whole = loop.train(experiment, photos, photos, tmp_path / "whole")

    # Stop the second run after its first stage: a run of that stage alone, then all of it.
    first = dataclasses.replace(experiment, stages=experiment.stages[:1])
    monkeypatch.setattr(
        loop, "make_optimizer", lambda c, pairs, batch: make_optimizer(c, experiment.pairs, batch)
    )
    loop.train(first, photos, photos, tmp_path / "parts")
    parts = loop.train(experiment, photos, photos, tmp_path / "parts")
    for a, b in zip(leaves(whole), leaves(parts), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)

    # What it leaves behind: a log that the curves read, and weights that load.
    training, validation = read_log(tmp_path / "parts" / "log.jsonl")
    assert [row["pairs"] for row in training] == [1, 2, 3, 4]
    assert validation[-1]["pairs"] == 4
    assert all(np.isfinite(row["loss"]) for row in training)
    assert len(draw_curves(training, validation).axes) == 4
    saved = load_params(tmp_path / "parts" / "weights.safetensors", fold=False)
    for a, b in zip(leaves(saved), leaves(parts), strict=True):
        np.testing.assert_array_equal(a, b)

    # A finished run has nothing left to do, and says nothing new.
    log = (tmp_path / "parts" / "log.jsonl").read_text()
    loop.train(experiment, photos, photos, tmp_path / "parts")
    assert (tmp_path / "parts" / "log.jsonl").read_text() == log
    assert json.loads(log.splitlines()[0])["bad"] == 0


def test_stages_are_located_by_step(experiment):
    assert [experiment.locate(step)[1:] for step in range(4)] == [(0, 0), (1, 1), (0, 2), (1, 3)]
    with pytest.raises(ValueError, match="4 steps"):
        experiment.locate(4)
