"""What a run wrote down survives a kill, and a run that goes on writes no step twice."""

import json
import struct

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event, SessionLog

from astr_jax.training.records import Records

PICTURE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def rows(workdir):
    return [json.loads(line) for line in (workdir / "log.jsonl").read_text().splitlines()]


def events(workdir):
    """TensorBoard's events, from the oldest file on. Of each: length (8 bytes), its check (4), the
    event, its check (4)."""
    found = []
    files = (workdir / "tensorboard").glob("events*")
    for path in sorted(files, key=lambda path: int(path.suffix[1:])):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            found.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def values(workdir):
    """{(tag, pairs): value} of TensorBoard's scalars and pictures."""
    return {(v.tag, e.step): v for e in events(workdir) for v in e.summary.value}


def record(workdir, steps, resume=None):
    """Steps of ten pairs, whose loss is their number."""
    with Records(workdir) as records:
        if resume is not None:
            records.resume(resume)
        for step in steps:
            records.scalars(step, 10 * step, {"loss": float(step)})


def test_training_and_validation_rows_are_told_apart(tmp_path):
    with Records(tmp_path) as records:
        records.scalars(1, 10, {"loss": np.float32(0.5), "bad": 0.0})
        records.scalars(2, 20, {"pose_auc@10": 0.25}, split="validation")
    assert rows(tmp_path) == [
        {"step": 1, "pairs": 10, "loss": 0.5, "bad": 0.0},
        {"step": 2, "pairs": 20, "validation": {"pose_auc@10": 0.25}},
    ]


def test_tensorboard_has_the_scalars_and_pictures_by_pairs(tmp_path):
    with Records(tmp_path) as records:
        records.scalars(3, 30, {"loss": 0.5})
        records.scalars(3, 30, {"pose_auc@10": 0.25}, split="validation")
        records.picture(30, "matches", PICTURE)
    found = values(tmp_path)
    assert found.keys() == {
        ("train/loss", 30),
        ("validation/pose_auc_at_10", 30),
        ("matches", 30),
    }
    assert found["train/loss", 30].simple_value == 0.5
    assert found["validation/pose_auc_at_10", 30].simple_value == 0.25
    with (tmp_path / "matches.png").open("wb") as file:
        file.write(found["matches", 30].image.encoded_image_string)
    with Image.open(tmp_path / "matches.png") as picture:
        np.testing.assert_array_equal(picture, PICTURE)


def test_a_row_is_in_the_file_as_soon_as_it_is_recorded(tmp_path):
    with Records(tmp_path) as records:
        records.scalars(1, 10, {"loss": 1.0})
        assert rows(tmp_path) == [{"step": 1, "pairs": 10, "loss": 1.0}]


def test_scores_that_are_not_finite_are_left_out(tmp_path):
    with Records(tmp_path) as records:
        records.scalars(1, 10, {"loss": float("nan"), "bad": 1.0, "fine_px": float("inf")})
    assert rows(tmp_path) == [{"step": 1, "pairs": 10, "bad": 1.0}]


@pytest.mark.parametrize("end", ['{"step": 3, "pai', '{"step": 3, "pairs": 30}', "\0\0\0"])
def test_a_last_line_cut_short_is_dropped_on_opening(tmp_path, end):
    record(tmp_path, (1, 2))
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write(end)
    record(tmp_path, (3,))
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 3]
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["log.jsonl"]


def test_a_run_that_goes_on_drops_what_lies_beyond_its_step(tmp_path):
    record(tmp_path, (1, 2, 3))
    record(tmp_path, (3, 4), resume=2)
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 3, 4]
    starts = [e for e in events(tmp_path) if e.session_log.status == SessionLog.START]
    assert [e.step for e in starts] == [0, 21]  # TensorBoard hides what came before, from there on


def test_a_run_that_starts_over_keeps_nothing(tmp_path):
    record(tmp_path, (1, 2, 3))
    record(tmp_path, (1,), resume=0)
    assert [row["step"] for row in rows(tmp_path)] == [1]


def test_a_log_that_is_whole_is_not_touched_by_resuming(tmp_path):
    record(tmp_path, (1, 2))
    before = (tmp_path / "log.jsonl").stat()
    record(tmp_path, (), resume=2)
    after = (tmp_path / "log.jsonl").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_the_other_processes_of_a_run_write_nothing(tmp_path):
    workdir = tmp_path / "run"
    with Records(workdir, enabled=False) as records:
        records.resume(3)
        records.scalars(1, 10, {"loss": 1.0})
        records.picture(10, "matches", PICTURE)
    assert not workdir.exists()


def test_without_tensorboardx_the_log_has_everything(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("astr_jax.training.records.SummaryWriter", None)
    with Records(tmp_path) as records:
        records.scalars(1, 10, {"loss": 1.0})
        records.scalars(2, 20, {"loss": 0.5})
        records.picture(20, "matches", PICTURE)
    assert [row["loss"] for row in rows(tmp_path)] == [1.0, 0.5]
    assert "".join(capsys.readouterr().out.split()).count("tensorboardXisnotinstalled") == 1


def test_an_unknown_split_is_refused(tmp_path):
    with Records(tmp_path) as records, pytest.raises(ValueError, match="got 'test'"):
        records.scalars(1, 10, {}, split="test")
