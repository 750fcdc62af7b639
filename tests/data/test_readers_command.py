import json

import cv2
import numpy as np
import pytest

from astr_jax.cli import main as astr


@pytest.fixture
def room(tmp_path, rng):
    """A folder of three views of a wall."""
    for name in ("images", "depth"):
        (tmp_path / "room" / name).mkdir(parents=True)
    frames = []
    for k in range(3):
        pose = np.eye(4)
        pose[0, 3] = k
        cv2.imwrite(str(tmp_path / "room/images" / f"{k}.png"), rng.integers(0, 256, (60, 80)))
        depth = np.full((60, 80), 3000, np.uint16)
        cv2.imwrite(str(tmp_path / "room/depth" / f"{k}.png"), depth)
        frames.append(
            {
                "image": f"images/{k}.png",
                "depth": f"depth/{k}.png",
                "K": [[60, 0, 39.5], [0, 60, 29.5], [0, 0, 1]],
                "T_cam_to_world": pose.tolist(),
            }
        )
    (tmp_path / "room" / "scene.json").write_text(json.dumps({"frames": frames}))
    return tmp_path / "room"


def check(arguments):
    return astr(["data", "check", *arguments])


def test_the_command_counts_the_pairs(room, capsys):
    check(["folders", str(room)])
    assert "3 pairs in 1 scenes" in capsys.readouterr().out


def test_the_command_names_what_it_cannot_read_and_fails(room, capsys):
    size = (room / "images/1.png").stat().st_size
    (room / "images/1.png").write_bytes((room / "images/1.png").read_bytes()[: size // 2])
    with pytest.raises(SystemExit) as stopped:
        check(["folders", str(room)])
    assert stopped.value.code == 1
    assert "unreadable files: 1\n" in (told := capsys.readouterr().out)
    assert "images/1.png" in told
    check(["folders", str(room), "--skip-bad"])


def test_the_command_says_what_is_missing(room, capsys):
    assert check(["megadepth", str(room)]) == 2
    assert "megadepth takes one folder and --index" in capsys.readouterr().err
    assert check(["scannet", str(room), "--index", str(room / "nowhere")]) == 2
    assert "found none" in capsys.readouterr().err


def test_the_command_writes_tables(room, tmp_path, capsys):
    pytest.importorskip("tensorflow_datasets", reason="of the extra `tables`")
    from astr_jax.data.readers import Tables

    check(["folders", str(room), "--tables", str(tmp_path / "out"), "--name", "r", "--side", "40"])
    assert "unreadable files: 0" in capsys.readouterr().out
    tables = Tables(tmp_path / "out", name="r")
    assert len(tables.pairs("room")) == 3
    assert tables.pairs("room")[0].view0.image.shape == (30, 40)
