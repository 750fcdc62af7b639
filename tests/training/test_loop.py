"""A run that is stopped and goes on is the run that never stopped."""

import dataclasses
import io
import itertools
import json
import pathlib
import runpy
import shutil
import signal
import types

import cv2
import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from rich.console import Console

from astr_jax.cli import main as astr
from astr_jax.config import to_json
from astr_jax.data.homography import HomographyConfig
from astr_jax.data.readers import PosedDataset, PosedPair
from astr_jax.data.readers.views import View
from astr_jax.models.kinds import init_variables
from astr_jax.params import Params, load_params, read_header, save_params
from astr_jax.training import devices, loop, optimiser, watching
from astr_jax.training import start as start_of_run
from astr_jax.training.batches import Sources
from astr_jax.training.curves import draw_curves, read_log
from astr_jax.training.experiment import Experiment, Stage, TrainConfig, ValidationConfig

COMMAND = pathlib.Path(__file__).parents[2] / "train.py"


@pytest.fixture(scope="module")
def experiment(micro_config):
    """Two stages of two steps of one pair, coarse and of one size, so that one step compiles."""
    aggregation = dataclasses.replace(micro_config.aggregation, blocks=1)
    stage = Stage(pairs=2, height=64, width=96, batch_size=1, fine=False, end_difficulty=0.5)
    return Experiment(
        name="micro",
        model=dataclasses.replace(micro_config, aggregation=aggregation),
        train=TrainConfig(warmup_pairs=2, log_every=1, validate_every=2, checkpoint_every=1),
        data=HomographyConfig(),
        stages=(stage, dataclasses.replace(stage, start_difficulty=0.5)),
        note="Photographs of noise.",
        validation=ValidationConfig(photo_pairs=1, posed_pairs=0),
    )


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (120, 160), dtype=np.uint8) for _ in range(3)]


def train(experiment, photos, workdir, **options):
    """loop.train on one device."""
    sources = Sources(photos=photos, validation_photos=photos)
    mesh = devices.data_mesh(jax.devices()[:1])
    return loop.train(experiment, sources, workdir, mesh=mesh, **options)


@pytest.fixture(scope="module")
def whole(experiment, photos, tmp_path_factory):
    """A run from its beginning to its end: its folder, and its weights."""
    workdir = tmp_path_factory.mktemp("run")
    return workdir, train(experiment, photos, workdir)


@pytest.fixture
def start(whole):
    """Weights to start from, which no run ends with."""
    return whole[1].replace(variables=jax.tree.map(lambda x: 1.1 * x, whole[1].variables))


def assert_same_weights(actual, expected, atol=0.0):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=atol, rtol=0),
        actual.variables,
        expected.variables,
    )


def test_a_run_leaves_a_log_that_the_curves_read_and_weights_that_load(whole):
    workdir, weights = whole
    training, validated = read_log(workdir / "log.jsonl")
    assert [row["pairs"] for row in training] == [1, 2, 3, 4]
    assert [row["difficulty"] for row in training] == [0, 0.5, 0.5, 0.5]
    assert [row["pairs"] for row in validated] == [2, 4]
    assert all(np.isfinite(row["loss"]) and row["bad"] == 0 for row in training)
    assert len(draw_curves(training, validated).axes) == 4
    assert_same_weights(load_params(workdir / "weights.safetensors", fold=False), weights)


@pytest.mark.parametrize("text", ["no log\n", '{"name": "tiny"}\n', "[1, 2]\n"])
def test_the_curves_of_a_file_that_is_no_log_are_refused(tmp_path, capsys, text):
    """JSON of another kind is no log either, such as a run's experiment.json."""
    (tmp_path / "other.txt").write_text(text)
    arguments = [str(tmp_path / "other.txt"), "--out", str(tmp_path / "curves.png")]
    assert astr(["curves", *arguments]) == 2
    assert "no row of a run's log" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "curves.png").exists()


def test_a_narrow_terminal_shows_the_pairs_and_folds_the_scores():
    means = {"loss": 0.27, "precision": 0.989, "recall": 0.555, "fine_px": 1.52, "bad": 0.0}
    bar = watching.progress_bar()
    task = bar.add_task("tiny", total=50_400, scores="compiling")
    bar.update(task, completed=18_240, scores=watching.short(means | {"pairs_per_second": 8.3}))
    console = Console(width=60, file=io.StringIO())
    console.print(bar.get_renderable())
    shown = " ".join(console.file.getvalue().split())
    assert "18240/50400" in shown
    assert "recall 0.555 fine_px 1.52 8.3 pairs/s" in shown


def test_the_note_of_the_weights_tells_the_run_and_what_it_was_given(whole):
    header = read_header(whole[0] / "weights.safetensors")
    assert header.note == "micro, step 4. Photographs of noise."


def test_a_finished_run_has_nothing_left_to_do(whole, experiment, photos):
    workdir, weights = whole
    log = (workdir / "log.jsonl").read_text()
    again = train(experiment, photos, workdir)
    assert_same_weights(again, weights)
    assert (workdir / "log.jsonl").read_text() == log


def test_a_run_stopped_by_the_clock_has_saved_everything_goes_on_and_ends_the_same(
    whole, experiment, photos, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        seconds = types.SimpleNamespace(monotonic=itertools.count().__next__)
        patch.setattr(loop, "time", seconds)  # a second passes whenever the clock is read
        stopped = train(experiment, photos, tmp_path, minutes=2 / 60)
    training, validated = read_log(tmp_path / "log.jsonl")
    assert [row["pairs"] for row in training] == [1]  # within the first stage
    assert not validated  # what stops a run gives it no time
    assert_same_weights(load_params(tmp_path / "weights.safetensors", fold=False), stopped)

    rest = train(experiment, photos, tmp_path)
    assert_same_weights(rest, whole[1], atol=1e-6)
    assert [row["pairs"] for row in read_log(tmp_path / "log.jsonl")[0]] == [1, 2, 3, 4]


def test_a_run_stopped_by_a_signal_has_saved_where_it_stands_and_ends_the_same(
    whole, experiment, photos, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:  # the signal comes when the first step is in the log
        patch.setattr(loop, "bad_in_a_row", lambda *_: signal.raise_signal(signal.SIGTERM) or 0)
        stopped = train(experiment, photos, tmp_path)
    assert [row["pairs"] for row in read_log(tmp_path / "log.jsonl")[0]] == [1, 2]
    assert_same_weights(load_params(tmp_path / "weights.safetensors", fold=False), stopped)
    assert_same_weights(train(experiment, photos, tmp_path), whole[1], atol=1e-6)


def test_a_damaged_newest_checkpoint_costs_the_steps_since_the_one_before(
    whole, experiment, photos, tmp_path, capsys
):
    workdir = tmp_path / "run"
    shutil.copytree(whole[0], workdir)
    for path in (workdir / "checkpoints" / "4").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    again = train(experiment, photos, workdir)
    assert "Checkpoint 4 cannot be read" in " ".join(capsys.readouterr().out.split())
    assert_same_weights(again, whole[1], atol=1e-6)
    rows = [json.loads(line) for line in (workdir / "log.jsonl").read_text().splitlines()]
    assert [row["pairs"] for row in rows if "loss" in row] == [1, 2, 3, 4]


def test_a_run_starts_from_the_weights_it_is_given_and_leaves_them_alone(
    start, experiment, photos, tmp_path
):
    before = jax.tree.map(np.array, start.variables)
    unmoved = train(experiment, photos, tmp_path / "none", initial=start, minutes=0)
    assert_same_weights(unmoved, start)
    moved = train(experiment, photos, tmp_path / "all", initial=start)
    jax.tree.map(np.testing.assert_array_equal, start.variables, before)
    leaves = zip(jax.tree.leaves(moved.variables), jax.tree.leaves(before), strict=True)
    largest = max(np.abs(a - b).max() for a, b in leaves)
    assert 0 < largest < 0.5  # a few steps from where it started


def test_weights_alone_go_on_where_they_stood_in_the_schedule(
    start, experiment, photos, tmp_path, capsys
):
    later = dataclasses.replace(
        experiment, train=dataclasses.replace(experiment.train, start_pairs=1)
    )
    train(later, photos, tmp_path, initial=start, minutes=0)
    assert "Stopped at step 1 of 4" in " ".join(capsys.readouterr().out.split())
    usual, again = optimiser.schedule_of(experiment), optimiser.schedule_of(later)
    share = experiment.train.warmup_from
    # Half warmed up after one pair of two, then as if it had never stopped.
    expected = [share * usual(1), (1 + share) / 2 * usual(2), usual(3)]
    np.testing.assert_allclose([again(step) for step in (1, 2, 3)], expected, rtol=1e-6)
    optimizer, weight = optimiser.optimizer_of(later), {"w": np.ones((2, 2), np.float32)}
    update, _ = optimizer.update(weight, optimizer.init(weight), weight)
    decay = experiment.train.weight_decay
    np.testing.assert_allclose(update["w"], -expected[0] * (1 + decay), rtol=1e-4)
    with pytest.raises(ValueError, match="holds a run with another start_pairs"):
        train(experiment, photos, tmp_path)
    with pytest.raises(ValueError, match="give them by --init"):
        train(later, photos, tmp_path / "other")
    with pytest.raises(ValueError, match="start_pairs must lie below the run's 4 pairs; got 4"):
        dataclasses.replace(later, train=dataclasses.replace(later.train, start_pairs=4))


def test_weights_of_another_configuration_are_no_start(start, experiment, photos, tmp_path):
    wider = dataclasses.replace(experiment.model, train_side=128)
    other = Params(start.variables, wider)
    with pytest.raises(ValueError, match="start from have another configuration"):
        train(experiment, photos, tmp_path, initial=other)


def test_a_partial_start_takes_the_layers_that_fit(start, experiment, photos, tmp_path):
    fine = dataclasses.replace(experiment.model.fine, head_dim=4)
    backbone = dataclasses.replace(experiment.model.backbone, fine_stride=2)
    model = dataclasses.replace(experiment.model, fine=fine, backbone=backbone)
    other = dataclasses.replace(experiment, model=model)
    with pytest.raises(ValueError, match="--partial takes the layers that fit"):
        train(other, photos, tmp_path, initial=start)
    trained = train(other, photos, tmp_path, initial=start, partial=True, minutes=0)
    fresh = init_variables(model, jax.random.key(other.train.seed))
    kept, got, new = (
        flatten_dict(tree["params"], sep="/")
        for tree in (start.variables, trained.variables, fresh)
    )
    for name in got:
        fits = not name.startswith(("backbone/top_down2/", "fine_matching/"))
        np.testing.assert_allclose(got[name], (kept if fits else new)[name], atol=1e-6)


def test_a_partial_start_takes_a_convolution_with_its_norm_or_neither():
    def of(inputs, value):
        norm = {"mean": np.full(4, value), "var": np.full(4, value)}
        params = {"conv": {"kernel": np.full((inputs, 4), value)}, "norm": {"scale": norm["mean"]}}
        same = {"conv": {"kernel": np.full(2, value)}, "norm": {"scale": np.full(2, value)}}
        return {
            "params": {"backbone": {"one": params, "two": same}},
            "batch_stats": {"backbone": {"one": {"norm": norm}}},
        }

    started = start_of_run.fitting(of(3, 0.0), of(2, 1.0))
    backbone, statistics = started["params"]["backbone"], started["batch_stats"]["backbone"]
    assert not any(x.any() for x in jax.tree.leaves((backbone["one"], statistics["one"])))
    assert all(x.all() for x in jax.tree.leaves(backbone["two"]))


def test_a_partial_start_that_fits_nowhere_is_refused(start):
    with pytest.raises(ValueError, match="No layer of the weights"):
        start_of_run.fitting(
            {"params": {"other": {"conv": {"kernel": np.zeros(3)}}}}, start.variables
        )


def test_a_workdir_of_another_model_is_refused(whole, experiment, photos):
    wider = dataclasses.replace(experiment.model, train_side=128)
    other = dataclasses.replace(experiment, model=wider)
    with pytest.raises(ValueError, match="holds a run with another model"):
        train(other, photos, whole[0])
    assert (whole[0] / "experiment.json").read_text() == to_json(experiment)


def test_a_run_that_only_makes_bad_steps_stops_and_names_them(
    start, experiment, photos, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "MOST_BAD_STEPS", 2)
    broken = start.replace(variables=jax.tree.map(lambda x: x * np.nan, start.variables))
    with pytest.raises(FloatingPointError, match="2 steps in a row, from step 0 to step 1"):
        train(experiment, photos, tmp_path, initial=broken)


def test_one_good_step_between_bad_ones_lets_the_run_go_on():
    bad, good = {"bad": 1.0}, {"bad": 0.0}
    count = loop.bad_in_a_row(0, [bad] * 19, step=19)
    count = loop.bad_in_a_row(count, [good], step=20)
    assert count == 0
    count = loop.bad_in_a_row(count, [good, *[bad] * 15], step=36)
    assert count == 15
    with pytest.raises(FloatingPointError, match="20 steps in a row, from step 21 to step 40"):
        loop.bad_in_a_row(count, [bad] * 10, step=46)


def test_stages_are_located_by_step(experiment):
    assert [experiment.locate(step)[1:] for step in range(4)] == [(0, 0), (1, 1), (0, 2), (1, 3)]
    with pytest.raises(ValueError, match="4 steps"):
        experiment.locate(4)
    wide = Stage(pairs=7, height=64, width=96, batch_size=2)
    for seen in range(12):  # 4 steps of 1 + 1 pairs before, then 4 of 2
        run = dataclasses.replace(experiment, stages=(*experiment.stages, wide))
        run = dataclasses.replace(run, train=dataclasses.replace(run.train, start_pairs=seen))
        before = [int(run.pairs_before(step)) for step in range(run.steps + 1)]
        assert run.first_step == next(s for s, pairs in enumerate(before) if pairs >= seen)


class Walls(PosedDataset):
    """Scenes of a flat wall of noise, seen twice by one camera that moves by 8 pixels."""

    def read_scene(self, scene):
        wall = np.random.default_rng(int(scene)).integers(0, 256, (64, 104), dtype=np.uint8)
        K = np.array([[80.0, 0, 47.5], [0, 80.0, 31.5], [0, 0, 1]])
        views = [
            View(f"{scene}/{x}", wall[:, x : x + 96], K, np.full((64, 96), 2.0, np.float32))
            for x in (0, 8)
        ]
        moved = np.eye(4)
        moved[0, 3] = -8 / 80 * 2.0
        return [PosedPair(scene, *views, moved)]


def test_a_run_on_real_depth_alone_needs_no_photographs(experiment, tmp_path):
    real = dataclasses.replace(
        experiment, posed_share=1.0, validation=ValidationConfig(photo_pairs=1, posed_pairs=2)
    )
    sources = Sources(posed=Walls(["0", "1", "2"]))
    mesh = devices.data_mesh(jax.devices()[:1])
    loop.train(real, sources, tmp_path, mesh=mesh, num_threads=1)
    training, validated = read_log(tmp_path / "log.jsonl")
    assert all(row["coarse"] > 0 and row["bad"] == 0 for row in training)
    assert validated[-1]["coarse"] > 0
    assert 0 <= validated[-1]["pose_auc@10"] <= 1
    alone = Sources(posed=Walls(["0"]))
    with pytest.raises(ValueError, match="nothing to validate on"):
        loop.train(real, alone, tmp_path / "alone", mesh=mesh)


# The command.


def command(*arguments):
    runpy.run_path(str(COMMAND))["main"]([str(a) for a in (*arguments, "--devices", 1)])


@pytest.fixture
def folder(experiment, photos, start, tmp_path, monkeypatch):
    """A configuration file, photographs of which the first is held back, and weights."""
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(photos):
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), image)
    (tmp_path / "micro.py").write_text(
        "from astr_jax.config import *\n"
        "from astr_jax.data.homography import HomographyConfig\n"
        "from astr_jax.data.lifted import LayersConfig\n"
        "from astr_jax.data.photometry import PhotometricConfig\n"
        "from astr_jax.data.worlds import WorldConfig\n"
        "from astr_jax.training.experiment import *\n"
        f"def model(): return {experiment.model!r}\n"
        f"def experiment(): return {dataclasses.replace(experiment, note='')!r}\n"
    )
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "model.py").write_text("def model(): pass\n")
    save_params(tmp_path / "start.safetensors", start)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_trains_from_given_weights_and_writes_its_note(folder, start):
    arguments = ["micro.py", "--photos", "photos", "--init", "start.safetensors"]
    command(*arguments, "--workdir", "run", "--note", "CC0", "--threads", 1)
    assert read_header("run/weights.safetensors").note == "micro, step 4. CC0"
    started, trained = (
        jax.tree.leaves(weights.variables)
        for weights in (start, load_params("run/weights.safetensors", fold=False))
    )
    assert max(np.abs(a - b).max() for a, b in zip(started, trained, strict=True)) < 0.5


def test_the_command_starts_from_a_part_of_the_weights(folder, capsys):
    arguments = ["micro.py", "--photos", "photos", "--init", "start.safetensors", "--partial"]
    command(*arguments, "--workdir", "run", "--minutes", 0, "--set", "model.train_side=128")
    assert "fresh: none" in " ".join(capsys.readouterr().out.split())


def test_the_command_stops_after_its_minutes(folder):
    command("micro.py", "--photos", "photos", "--workdir", "run", "--minutes", 0)
    assert (folder / "run" / "experiment.json").is_file()
    assert not (folder / "run" / "log.jsonl").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.py"], "There is no configuration file nowhere.py"),
        (["empty.py"], "empty.py is no configuration: it has no function model()"),
        (["giant"], "'giant' is no configuration: take one of aspan_megadepth, "),
        (["model.py"], "has a model and no experiment()"),
        (["astr_megadepth"], "--posed and a posed_share above 0 belong together"),
        (["micro.py", "--posed", "colmap", "x"], "--posed and a posed_share above 0 belong"),
        (["micro.py", "--posed", "x", "--set", "posed_share=0.5"], "'x' is no kind of data set"),
        (["micro.py", "--processes", "2"], "come together or not at all"),
        (["micro.py", "--set", "train.rate=1"], "TrainConfig has no 'rate'"),
        (["micro.py", "--set", "train.learning_rate"], "--set takes NAME=VALUE"),
        (["micro.py", "--init", "gone.safetensors"], "gone.safetensors is neither shipped"),
        (["micro.py", "--partial"], "--partial says what to take of weights: give them by --init"),
        (["micro.py", "--photos", "gone"], "gone is not a folder"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(folder, capsys, arguments, message):
    with pytest.raises(SystemExit):
        command("--photos", "photos", "--workdir", "run", *arguments)
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (folder / "run").exists()
