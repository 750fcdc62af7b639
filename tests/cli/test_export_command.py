"""astr export: what it writes loads, and it says what it was."""

import jax
import numpy as np
import pytest

import astr_jax
from astr_jax.cli import main
from astr_jax.config import to_json
from astr_jax.data.homography import HomographyConfig
from astr_jax.params import Params, fold_params, load_params, read_header
from astr_jax.training.checkpoints import Checkpoints
from astr_jax.training.experiment import Experiment, Stage, TrainConfig
from astr_jax.training.step import TrainState


@pytest.fixture(scope="module")
def folder(tmp_path_factory, nano_config, nano_variables):
    """A run with checkpoints 10, of a score, and 20, of none; and one that has not begun."""
    folder = tmp_path_factory.mktemp("export")
    experiment = Experiment(
        name="micro",
        model=nano_config,
        train=TrainConfig(),
        data=HomographyConfig(),
        stages=(Stage(pairs=4),),
        note="Photographs of noise.",
    )
    for name in ("run", "young"):
        (folder / name).mkdir()
        (folder / name / "experiment.json").write_text(to_json(experiment))
    checkpoints = Checkpoints(folder / "run")
    variables = jax.tree.map(jax.numpy.asarray, nano_variables)
    for step, score in ((10, 0.4375), (20, None)):
        ema = jax.tree.map(lambda x, step=step: x * (step // 10), variables["params"])
        state = TrainState(np.int32(step), ema, variables["batch_stats"], (), ema)
        checkpoints.save(state, score)
    checkpoints.close()
    return folder


@pytest.fixture
def export(folder, monkeypatch, capsys):
    """export("run", ...) runs in the folder; returns exit code, stdout and stderr."""
    monkeypatch.chdir(folder)

    def run(*arguments):
        code = main(["export", *arguments])
        return code, *capsys.readouterr()

    return run


def assert_same(actual, expected, rtol=0.0):
    def close(a, e):
        np.testing.assert_allclose(a, e, rtol=rtol, atol=0.1 * rtol)

    jax.tree.map(close, actual, expected)


def test_the_best_weights_are_written_folded_and_load(export, nano_config, nano_variables):
    code, out, err = export("run", "--out", "best.safetensors")
    assert (code, err) == (0, "")
    assert "wrote best.safetensors: step 10, score 0.4375, " in out
    assert out.splitlines()[1] == "note: micro, step 10. Photographs of noise."
    assert read_header("best.safetensors").config.backbone.folded
    expected = fold_params(Params(nano_variables, nano_config))
    assert_same(astr_jax.load("best.safetensors"), expected, rtol=1e-6)
    assert export("run", "--best", "--out", "again.safetensors")[0] == 0
    assert_same(astr_jax.load("again.safetensors"), astr_jax.load("best.safetensors"))


def test_unfolded_weights_of_a_step_can_be_trained_on(export, folder, nano_variables):
    code, out, _ = export("run", "--step", "20", "--unfolded", "--out", "u.safetensors")
    assert code == 0
    size = (folder / "u.safetensors").stat().st_size / 1e6
    assert f"step 20, no score, {size:.2f} MB, float32, batch norm unfolded" in out
    doubled = jax.tree.map(lambda x: 2 * x, nano_variables["params"])
    expected = {"params": doubled, "batch_stats": nano_variables["batch_stats"]}
    assert_same(load_params("u.safetensors", fold=False).variables, expected)


def test_bfloat16_weights_are_smaller_and_load_as_float32(export, folder):
    for dtype in ("float32", "bfloat16"):
        assert export("run", "--dtype", dtype, "--out", f"{dtype}.safetensors")[0] == 0
    half, full = (folder / f"{dtype}.safetensors" for dtype in ("bfloat16", "float32"))
    assert half.stat().st_size < 0.6 * full.stat().st_size
    assert {x.dtype for x in jax.tree.leaves(astr_jax.load(half))} == {np.dtype("float32")}
    assert_same(astr_jax.load(half), astr_jax.load(full), rtol=2**-8)


def test_the_note_can_be_replaced(export):
    assert export("run", "--note", "CC0", "--out", "note.safetensors")[0] == 0
    assert read_header("note.safetensors").note == "micro, step 10. CC0"


def test_an_older_file_is_replaced(export, folder):
    (folder / "old.safetensors").write_text("old")
    assert export("run", "--out", "old.safetensors")[0] == 0
    astr_jax.load("old.safetensors")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone"], "gone is no run's folder"),
        (["young"], "young has no checkpoint yet"),
        (["young", "--best"], "young has no checkpoint yet"),
        (["run", "--step", "15"], "no checkpoint of step 15; there are: 10, 20"),
        (["run", "--out", "wrong.npz"], "wrong.npz must end in .safetensors"),
        (["run", "--out", "gone/w.safetensors"], "there is no folder gone"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(export, folder, arguments, message):
    before = sorted(folder.rglob("*"))
    code, out, err = export("--out", "wrong.safetensors", *arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert message in err
    assert sorted(folder.rglob("*")) == before
