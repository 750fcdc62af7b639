"""A run that is killed goes on as if nothing had happened."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import micro_run
import numpy as np
import pytest

from astr_jax.training.curves import read_log
from astr_jax.training.devices import data_mesh
from astr_jax.training.start import like_state

SCRIPT = pathlib.Path(micro_run.__file__)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Compiled programs are shared by the processes of these tests."""
    cache = tmp_path_factory.mktemp("compiled")
    return os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def start(workdir, environment, *options):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(workdir), *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output


def final_state(workdir):
    """The state of the last checkpoint, as numpy."""
    from astr_jax.training.checkpoints import Checkpoints

    checkpoints = Checkpoints(workdir)
    assert checkpoints.steps()[-1] == micro_run.STEPS
    like = like_state(micro_run.experiment(fine=False, batch=1), data_mesh(jax.devices()[:1]))
    state = jax.device_get(checkpoints.read(micro_run.STEPS, like))
    checkpoints.close()
    return state


@pytest.fixture(scope="module")
def whole(environment, tmp_path_factory):
    """A run of ten steps that nobody disturbs."""
    workdir = tmp_path_factory.mktemp("whole")
    finish(start(workdir, environment))
    return workdir


def wait_for_step(workdir, step, process):
    """Waits until the checkpoint of a step is whole."""
    while process.poll() is None:
        done = [p for p in (workdir / "checkpoints").glob("*") if p.name.isdigit()]
        if any(int(p.name) >= step for p in done):
            return
        time.sleep(0.005)
    raise AssertionError(process.communicate()[0])


def test_a_killed_run_ends_with_the_same_bits(whole, environment, tmp_path):
    process = start(tmp_path, environment)
    wait_for_step(tmp_path, 5, process)
    process.kill()
    output, _ = process.communicate(timeout=600)
    assert process.returncode == -signal.SIGKILL, output
    finish(start(tmp_path, environment))
    jax.tree.map(np.testing.assert_array_equal, final_state(tmp_path), final_state(whole))
    steps = [row["step"] for row in read_log(tmp_path / "log.jsonl")[0]]
    assert steps == list(range(1, micro_run.STEPS + 1))


def test_a_full_disk_costs_checkpoints_and_not_the_run(whole, environment, tmp_path):
    process = start(tmp_path, environment, "--largest-file", "20000")
    output = finish(process)
    assert "was not written" in " ".join(output.split())
    finish(start(tmp_path, environment))
    jax.tree.map(np.testing.assert_array_equal, final_state(tmp_path), final_state(whole))
