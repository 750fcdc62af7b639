"""One run at a time in a folder; what is left of a dead one is no hindrance."""

import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from astr_jax.training import lock
from astr_jax.training.experiment import TrainConfig
from astr_jax.training.lock import only_run
from astr_jax.training.watching import stop_signals

HOLD = """
import pathlib, sys, time
from astr_jax.training.lock import only_run
with only_run(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def written(folder, **fields):
    here = {"pid": os.getpid(), "host": socket.gethostname(), "since": "2026-01-01 00:00:00"}
    (folder / lock.NAME).write_text(json.dumps(here | fields))


def test_a_folder_in_use_is_refused_with_the_process_and_free_after_its_death(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "held\n"
            words = rf"in use: process {other.pid} on .* has been training there since 20.*remove"
            with pytest.raises(ValueError, match=words), only_run(tmp_path):
                pytest.fail("two runs in one folder")
        finally:
            other.kill()
    with only_run(tmp_path):  # the file of the killed process is passed over
        assert json.loads((tmp_path / lock.NAME).read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_two_threads_are_two_runs(tmp_path):
    with only_run(tmp_path):
        with pytest.raises(ValueError, match=f"process {os.getpid()}"), only_run(tmp_path):
            pytest.fail("two runs in one folder")
        assert (tmp_path / lock.NAME).exists()
    with only_run(tmp_path / "a"), only_run(tmp_path / "b"):
        pass


def test_an_earlier_life_with_the_same_number_is_over(tmp_path):
    """As in containers, where every first process has the number 1."""
    written(tmp_path)
    with only_run(tmp_path):
        pass


def test_a_file_that_was_cut_short_is_waited_for_and_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "SILENCE", 0.1)
    (tmp_path / lock.NAME).write_text('{"pid": 1')
    with only_run(tmp_path):
        pass


@pytest.mark.parametrize("beats", [True, False])
def test_a_process_of_another_machine_counts_while_it_touches_its_file(
    tmp_path, monkeypatch, beats, capsys
):
    monkeypatch.setattr(lock, "SILENCE", 0.4)
    written(tmp_path, host="elsewhere", pid=7)
    ended = threading.Event()

    def touch():
        while beats and not ended.wait(0.02):
            os.utime(tmp_path / lock.NAME)

    other = threading.Thread(target=touch)
    other.start()
    try:
        if beats:
            with pytest.raises(ValueError, match="process 7 on elsewhere"), only_run(tmp_path):
                pytest.fail("two runs in one folder")
        else:
            with only_run(tmp_path):
                pass
    finally:
        ended.set()
        other.join()
    assert "of a run on elsewhere" in " ".join(capsys.readouterr().out.split())


def test_the_file_is_touched_while_it_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.02)
    with only_run(tmp_path):
        before = (tmp_path / lock.NAME).stat().st_mtime_ns
        deadline = time.monotonic() + 5
        while (tmp_path / lock.NAME).stat().st_mtime_ns == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_beside_the_main_thread_there_are_no_signals_and_no_error():
    seen = []

    def run():
        with stop_signals() as stopped:
            seen.append(stopped)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [[]]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", float("nan")),
        ("learning_rate", 0.0),
        ("learning_rate", float("inf")),
        ("checkpoint_every", 0),
        ("validate_every", 0),
        ("milestone_every", -1),
        ("log_every", 0),
        ("weight_decay", float("nan")),
        ("clip", -1.0),
        ("spot_weight", float("nan")),
    ],
)
def test_a_number_that_no_run_can_have_is_named(field, value):
    with pytest.raises(ValueError, match=f"{field} must be finite, and .*got"):
        TrainConfig(**{field: value})
