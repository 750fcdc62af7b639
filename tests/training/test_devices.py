"""The number of devices and of processes changes how fast a run goes, and not what it computes."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys

import jax
import micro_run
import numpy as np
import pytest

from astr_jax.training import devices, loop, start
from astr_jax.training.checkpoints import Checkpoints
from astr_jax.training.curves import read_log


def losses(workdir):
    return np.array([row["loss"] for row in read_log(workdir / "log.jsonl")[0]])


@pytest.fixture(scope="module")
def on_one_device(tmp_path_factory):
    """Ten steps of the whole model, both stages, on one device."""
    return trained(tmp_path_factory.mktemp("one"), 1)


def trained(workdir, count):
    mesh = devices.data_mesh(jax.devices()[:count])
    experiment = micro_run.experiment(fine=True, validates=False)
    loop.train(experiment, micro_run.sources(), workdir, mesh=mesh, num_threads=1)
    return workdir


# Selections (best matches, spots) can flip where two candidates differ by rounding alone; these
# ten steps have no such tie.


def test_several_devices_have_the_losses_of_one(on_one_device, tmp_path):
    many = losses(trained(tmp_path, 8))
    assert len(many) == micro_run.STEPS
    np.testing.assert_allclose(many, losses(on_one_device), rtol=1e-4)


def train_by_two_processes(workdir, cache):
    """Ten steps by two processes of one device each, or the rest of them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, micro_run.__file__, str(workdir), "--fine"]
    command += ["--pairs", str(micro_run.BATCH)]
    processes = [
        subprocess.Popen(
            [*command, "--coordinator", address, "--process", str(k)],
            env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for k in range(2)
    ]
    try:
        for process in processes:
            output, _ = process.communicate(timeout=900)
            assert process.returncode == 0, output
            assert "was not written" not in " ".join(output.split())
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_two_processes_have_the_losses_of_one_and_go_on(on_one_device, tmp_path):
    workdir, of_one = tmp_path / "run", losses(on_one_device)
    train_by_two_processes(workdir, tmp_path / "compiled")
    np.testing.assert_allclose(losses(workdir), of_one, rtol=1e-4)
    log = (workdir / "log.jsonl").read_text().splitlines()
    shutil.rmtree(workdir / "checkpoints" / "10")  # as if it had been stopped before
    train_by_two_processes(workdir, tmp_path / "compiled")
    # Of the first nine steps even the times are the same: they were not run again.
    assert (workdir / "log.jsonl").read_text().splitlines()[:9] == log[:9]
    np.testing.assert_allclose(losses(workdir), of_one, rtol=1e-4)
    like = start.like_state(micro_run.experiment(fine=True), devices.data_mesh())
    with contextlib.closing(Checkpoints(workdir)) as checkpoints:  # of one process
        assert int(checkpoints.restore(like).step) == micro_run.STEPS


def test_a_run_of_one_device_goes_on_on_eight(on_one_device, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(on_one_device, workdir)
    shutil.rmtree(workdir / "checkpoints" / "10")  # as if it had been stopped before
    trained(workdir, 8)
    np.testing.assert_allclose(losses(workdir), losses(on_one_device), rtol=1e-4)


def test_a_micro_batch_that_does_not_split_is_refused():
    mesh = devices.data_mesh(jax.devices()[:3])
    with pytest.raises(ValueError, match="8 pairs cannot be split over 3 devices"):
        devices.check_split(mesh, 8)


def test_devices_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match=r"--devices must be in 1 \.\. 8; got 9"):
        devices.first_devices(9)


def test_each_device_makes_its_own_rows():
    mesh = devices.data_mesh(jax.devices()[:4])
    asked = []

    def make(rows, device):
        asked.append((device, rows))
        return np.arange(rows.start, rows.stop)

    batch = devices.make_split(mesh, 8, make)
    assert asked == [(d, range(2 * k, 2 * k + 2)) for k, d in enumerate(jax.devices()[:4])]
    np.testing.assert_array_equal(batch, np.arange(8))
    assert batch.sharding == devices.split(mesh)


def test_half_of_a_command_line_for_several_processes_is_refused():
    with pytest.raises(ValueError, match="come together or not at all"):
        devices.join("127.0.0.1:1234", None, 0)
    with pytest.raises(ValueError, match=r"--process must be in 0 \.\. 1; got 2"):
        devices.join("127.0.0.1:1234", 2, 2)
