"""Adapting: what is held out, what chooses and judges, and the command from end to end."""

import contextlib
import dataclasses
import functools
import json
import pathlib

import jax
import numpy as np
import pytest
from data.written_scenes import write_scene

from astr_jax.adaptation import adapt
from astr_jax.adaptation.held_out import parted
from astr_jax.cli import main
from astr_jax.data.scenes import read_scene
from astr_jax.evaluation.studies.tracks import TrackRecord
from astr_jax.params import Calibration, Params, load_params, read_header, save_params

SMALL = {"height": 64, "width": 96, "batch_size": 1, "checkpoints": 2, "resize": 96}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photographs of a place in images/, and a model of them in sparse/."""
    place = tmp_path_factory.mktemp("place") / "yard"
    write_scene(place, np.random.default_rng(0), views=9, step=0.15)
    return place


def test_what_is_held_out_is_not_trained_on_and_what_judges_does_not_choose(folder):
    scene = read_scene(folder)
    parts = parted(scene, every=3, most=100)
    judges, choosers = {1, 7}, {4}
    for pairs, own, others in (
        (parts.judging, judges, choosers),
        (parts.choosing, choosers, judges),
    ):
        assert len(pairs) == sum(
            bool({i, j} & own) and not {i, j} & others for i, j in scene.pairs[0].tolist()
        )
        assert all({*pair} & own and not {*pair} & others for pair in pairs)
    assert [id(image) for image in parts.train.images] == [
        id(scene.images[k]) for k in (0, 2, 3, 5, 6, 8)
    ]
    np.testing.assert_array_equal(parts.train.keypoints[1], scene.keypoints[2])
    few = parted(scene, every=3, most=5)
    assert few.judging == parts.judging[:5]
    assert few.choosing == parts.choosing[:3]


def test_too_few_photographs_are_refused(folder):
    scene = read_scene(folder)
    with pytest.raises(ValueError, match="5 photographs"):
        parted(scene.only(range(5)), every=2, most=9)
    with pytest.raises(ValueError, match="hold out at least two"):
        parted(scene, every=9, most=9)
    still = dataclasses.replace(scene, cam_from_world=np.tile(np.eye(4), (9, 1, 1)))
    with pytest.raises(ValueError, match="share too few points"):
        parted(still, every=3, most=9)


def records(shares):
    return [
        TrackRecord(scene="s", image0=k, image1=9, points=20, scores={adapt.MEASURE: float(x)})
        for k, x in enumerate(shares)
    ]


def test_better_is_what_the_whole_interval_says(rng):
    hard = rng.uniform(0.2, 0.9, 40)
    much, little = (
        adapt.Verdict(records(hard), records(hard + rng.normal(mean, 0.05, 40)))
        for mean in (0.04, 0.0)
    )
    assert much.better
    assert much.gain.value == pytest.approx(0.04, abs=0.03)
    assert not little.better
    assert not adapt.Verdict(much.after, much.before).better


def test_half_of_the_pairs_are_real_and_the_rate_is_low(nano_variables, nano_config):
    params = Params(nano_variables, nano_config)
    experiment = adapt.experiment_of(params, adapt.AdaptConfig(pairs=400), "A note.")
    assert experiment.model == nano_config
    assert experiment.tracks_share == 0.5
    assert experiment.train.learning_rate == 3e-4
    assert experiment.train.warmup_pairs == 40
    assert (experiment.pairs, experiment.train.validate_every) == (400, 100)
    assert experiment.note == "A note."


def test_a_run_needs_pairs_for_every_checkpoint():
    with pytest.raises(ValueError, match="pairs must be at least 32; got 31"):
        adapt.AdaptConfig(pairs=31)


@pytest.fixture
def astr_adapt(folder, tmp_path, monkeypatch, nano_variables, nano_config):
    """astr_adapt(*words) -> its code: of the smallest model and pictures, coarse and of real pairs
    alone, so that one step compiles. Pairs are not matched: the weights of the second checkpoint
    are said to be best."""
    calibration = Calibration(sigma_factor=1.25)
    params = Params(nano_variables, nano_config, calibration)
    save_params(tmp_path / "start.safetensors", params, note="Of no use.")
    monkeypatch.setattr(adapt, "AdaptConfig", functools.partial(adapt.AdaptConfig, **SMALL))
    whole, asked = adapt.experiment_of, []

    def coarse(*given):
        experiment = whole(*given)
        stage = dataclasses.replace(experiment.stages[0], fine=False)
        return dataclasses.replace(experiment, tracks_share=1.0, stages=(stage,))

    monkeypatch.setattr(adapt, "experiment_of", coarse)

    def score_pairs(params, parts, pairs, config, on_pair=None, points_alone=False):
        asked.append((params, pairs == parts.judging))
        rng = np.random.default_rng(0)
        return records(rng.uniform(0.4, 0.6, len(pairs)) + 0.01 * len(asked))

    monkeypatch.setattr(adapt, "score_pairs", score_pairs)

    def run(*words):
        given = "--model", folder / "sparse", "--weights", tmp_path / "start.safetensors"
        out = "--out", tmp_path / "mine.safetensors"
        few = "--pairs", 4, "--every", 3
        return main(["adapt", *map(str, (folder / "images", *given, *out, *few, *words))])

    run.asked, run.folder = asked, tmp_path
    return run


def test_better_weights_are_written_and_say_where_they_come_from(astr_adapt, monkeypatch, capsys):
    assert astr_adapt() == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "9 photographs; trained on: 6, in" in printed
    assert "were found within 3 px before" in printed
    assert "+1.0 [+1.0, +1.0] points" in printed
    # Two checkpoints choose, then both judge.
    assert [judging for _, judging in astr_adapt.asked] == [False, False, True, True]
    out = astr_adapt.folder / "mine.safetensors"
    header = read_header(out)
    assert header.note.startswith("Adapted by astr adapt from start.safetensors (sha256 ")
    assert header.note.endswith(
        "4 pairs of 6 photographs, learning rate 0.0003, seed 0. Of no use."
    )
    assert header.calibration == Calibration(sigma_factor=1.25)
    best = astr_adapt.asked[1][0]
    written, judged = load_params(out, fold=False), astr_adapt.asked[3][0]
    for found in (written, judged):
        assert found.calibration == best.calibration
        jax.tree.map(np.testing.assert_array_equal, found.variables, best.variables)
    # The same again trains nothing. Where nothing is gained the old weights are written.
    monkeypatch.setattr(adapt.Verdict, "better", property(lambda self: False))
    assert astr_adapt() == 0
    assert "Not better on the photographs held out" in capsys.readouterr().out
    assert [judging for _, judging in astr_adapt.asked[4:]] == [True, True]
    assert out.read_bytes() == (astr_adapt.folder / "start.safetensors").read_bytes()
    assert astr_adapt("--rate", "1e-4") == 2
    assert "was begun with other settings: rate" in capsys.readouterr().err


def test_a_run_that_was_stopped_writes_nothing_and_goes_on(astr_adapt, monkeypatch, capsys):
    monkeypatch.setattr(adapt.loop, "stop_signals", lambda: contextlib.nullcontext([1]))
    assert astr_adapt() == 0
    assert "the same command goes on" in " ".join(capsys.readouterr().out.split())
    assert not (astr_adapt.folder / "mine.safetensors").exists()
    settings = json.loads((astr_adapt.folder / "mine" / "settings.json").read_text())
    assert settings["pairs"] == 4


def test_photographs_that_are_not_there_are_said_before_the_work(tmp_path, capsys):
    words = ["adapt", str(tmp_path / "none"), "--out", str(tmp_path / "a.txt")]
    assert main(words) == 2
    assert "must end in .safetensors" in capsys.readouterr().err
    assert not pathlib.Path(tmp_path / "a").exists()
