"""The averaged weights of a checkpoint come out of a run's folder, whatever wrote it."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from astr_jax.config import to_json
from astr_jax.data.homography import HomographyConfig
from astr_jax.training.checkpoints import Checkpoints
from astr_jax.training.experiment import Experiment, Stage, TrainConfig
from astr_jax.training.export import read_run
from astr_jax.training.step import TrainState

SCORES = {1: 0.2, 2: 0.9, 3: None, 4: 0.5}  # by step; the newest two and the best are kept


def state_at(step, variables):
    """Averaged weights that are `step` times those given, and an optimiser that nobody knows."""
    params = variables["params"]
    return TrainState(
        step=jnp.int32(step),
        params=jax.tree.map(lambda x: -x, params),
        batch_stats=variables["batch_stats"],
        opt_state=({"trace": params["backbone"]}, (), np.int32(step)),
        ema=jax.tree.map(lambda x: step * x, params),
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory, nano_config, nano_variables):
    """A run's folder, written by eight devices."""
    folder = tmp_path_factory.mktemp("runs") / "micro"
    folder.mkdir()
    experiment = Experiment(
        name="micro",
        model=nano_config,
        train=TrainConfig(),
        data=HomographyConfig(),
        stages=(Stage(pairs=4),),
        note="Photographs of noise.",
    )
    (folder / "experiment.json").write_text(to_json(experiment))
    everywhere = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec())
    assert everywhere.num_devices == 8
    checkpoints = Checkpoints(folder)
    for step, score in SCORES.items():
        checkpoints.save(jax.device_put(state_at(step, nano_variables), everywhere), score)
    checkpoints.close()
    return folder


def assert_weights_of(read, step, variables):
    assert read.step == step
    expected = state_at(step, variables)
    given = {"params": expected.ema, "batch_stats": expected.batch_stats}
    jax.tree.map(np.testing.assert_array_equal, read.params.variables, given)


def test_the_best_checkpoint_is_read_unless_a_step_is_named(run, nano_variables):
    best = read_run(run)
    assert_weights_of(best, 2, nano_variables)
    assert (best.score, best.name, best.note) == (0.9, "micro", "Photographs of noise.")
    newest = read_run(run, 4)
    assert_weights_of(newest, 4, nano_variables)
    assert newest.score == 0.5


def test_a_checkpoint_without_a_score_has_none(run):
    assert read_run(run, 3).score is None


def test_what_eight_devices_wrote_lies_on_one(run, nano_config):
    params = read_run(run).params
    assert params.config == nano_config
    places = {device for x in jax.tree.leaves(params) for device in x.devices()}
    assert places == {jax.local_devices()[0]}


def test_without_any_score_the_newest_is_read(run, nano_variables, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    for step in (2, 4):
        shutil.rmtree(folder / "checkpoints" / str(step))
    assert_weights_of(read_run(folder), 3, nano_variables)


def test_a_run_that_goes_on_is_left_as_it_is(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    unfinished = folder / "checkpoints" / "5.orbax-checkpoint-tmp"
    unfinished.mkdir()
    before = {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}
    assert read_run(folder).step == 2
    assert {path: path.lstat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_step_that_is_not_there_is_answered_by_those_that_are(run):
    with pytest.raises(ValueError, match="no checkpoint of step 7; there are: 2, 3, 4"):
        read_run(run, 7)


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"is no run's folder: it has no experiment\.json"):
        read_run(tmp_path)
    (tmp_path / "experiment.json").write_text("{")
    with pytest.raises(ValueError, match=r"experiment\.json is damaged"):
        read_run(tmp_path)
    (tmp_path / "experiment.json").write_text('{"name": "other"}')
    with pytest.raises(ValueError, match="it has no model, note"):
        read_run(tmp_path)


def test_a_run_without_a_checkpoint_is_left_without_a_folder_of_them(run, tmp_path):
    shutil.copy(run / "experiment.json", tmp_path)
    with pytest.raises(ValueError, match="has no checkpoint yet"):
        read_run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["experiment.json"]


def test_a_damaged_checkpoint_is_named(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    for path in (folder / "checkpoints" / "4" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"checkpoint 4 in .* cannot be read"):
        read_run(folder, 4)
