"""A run goes on from the newest checkpoint that can be read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.training.checkpoints import Checkpoints
from astr_jax.training.step import TrainState


def state_at(step):
    weights = {"kernel": jnp.full((2, 3), float(step))}
    return TrainState(
        step=jnp.int32(step), params=weights, batch_stats={}, opt_state=(), ema=weights
    )


@pytest.fixture
def workdir(tmp_path):
    """Holds the checkpoints 2 and 3 of three that were saved."""
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 3):
        checkpoints.save(state_at(step))
    checkpoints.close()
    return tmp_path


def damage(workdir, *steps):
    """Cuts every file of these checkpoints short."""
    for step in steps:
        for path in (workdir / "checkpoints" / str(step)).rglob("*"):
            if path.is_file():
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def restored(workdir):
    checkpoints = Checkpoints(workdir)
    state = checkpoints.restore(state_at(0))
    return checkpoints, state


def test_without_a_checkpoint_there_is_nothing_to_restore(tmp_path):
    checkpoints, state = restored(tmp_path)
    checkpoints.close()
    assert state is None


def test_the_newest_checkpoint_comes_back_and_the_newest_two_are_kept(workdir):
    checkpoints, state = restored(workdir)
    checkpoints.close()
    jax.tree.map(np.testing.assert_array_equal, state, state_at(3))
    kept = sorted(path.name for path in (workdir / "checkpoints").iterdir())
    assert kept == ["2", "3"]


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(workdir, capsys):
    damage(workdir, 3)
    checkpoints, state = restored(workdir)
    jax.tree.map(np.testing.assert_array_equal, state, state_at(2))
    said = " ".join(capsys.readouterr().out.split())
    assert "Checkpoint 3 cannot be read" in said
    assert "trying the one before" in said
    # The run goes on: the step is reached again, and saved in the damaged one's place.
    checkpoints.save(state_at(3))
    checkpoints.close()
    checkpoints, state = restored(workdir)
    checkpoints.close()
    jax.tree.map(np.testing.assert_array_equal, state, state_at(3))


def test_a_run_without_a_readable_checkpoint_is_not_started_over_in_silence(workdir):
    damage(workdir, 2, 3)
    checkpoints = Checkpoints(workdir)
    with pytest.raises(ValueError, match=r"None of the checkpoints \[3, 2\].* can be read"):
        checkpoints.restore(state_at(0))
    checkpoints.close()
    assert (workdir / "checkpoints" / "2").is_dir()
