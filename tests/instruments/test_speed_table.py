"""The table of times: every task a line, and nothing where nothing is known."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from astr_jax.instruments.peak_memory import Peak
from astr_jax.instruments.speed_table import lines_of, markdown_table, row_of, screen_table
from astr_jax.instruments.timing import DEFAULT, FINE, REFINE, WHOLE, Seconds, Timing


def timing(wall):
    return Timing(Seconds(10 + wall, 1.0), (Seconds(wall, 2 * wall),) * 3)


@pytest.fixture
def report():
    """Two sizes: of the first all is known, of the second neither LoFTR nor the memory."""
    tasks = [*WHOLE, "encode", "first look", "coarse", REFINE, FINE]
    timings = {name: timing(1.0 + number) for number, name in enumerate(tasks)}
    rivals = {"LoFTR": timing(0.5), "ONNX Runtime": timing(3.0)}
    pair = np.zeros((48, 64), np.uint8), np.zeros((48, 64), np.uint8)
    other = np.zeros((96, 128), np.uint8), np.zeros((100, 128), np.uint8)
    peak = Peak(1234.5, 300.0, 50.0)
    return {
        "machine": {
            **{"cpu": "A Fast One", "cores": 2, "device": "cpu", "system": "Linux", "load": 0.0},
            "versions": {"jax": "1.0"},
        },
        "settings": {"weights": "tiny", "pictures": "a drawn town", "repeat": 3},
        "sizes": [
            row_of(pair, timings | rivals, (1.0, 2.0), 1500, peak),
            row_of(other, timings, (0.5,), 0, None),
        ],
    }


def test_every_task_is_a_line(report):
    head, *lines = lines_of(report["sizes"])
    assert head == ["seconds / CPU seconds", "64 x 48", "128 x 96 and 128 x 100"]
    cells = {line[0]: line[1:] for line in lines}
    assert cells["encode, one image"] == ["5.000 / 10.000"] * 2
    assert cells["scale ratio"] == ["-1.000 / -2.000"] * 2  # refine 8 s, fine 9 s
    assert cells[f"match, {DEFAULT}"] == ["1.000 / 2.000"] * 2
    assert cells["LoFTR"] == ["0.500 / 1.000 (0.50 x)", "-"]
    assert cells["ONNX Runtime"] == ["3.000 / 6.000 (1.50 x)", "-"]  # beside scales=1, 2 s
    assert cells["compiling the default match"] == ["10.0", "10.0"]
    assert cells["peak memory, MiB"] == ["1,234 (300 before), device 50", "-"]
    assert cells["matches, at scales"] == ["1,500, at 1, 2", "0, at 0.5"]
    assert "SIFT" not in cells


def test_it_is_written_as_json_and_as_markdown(report):
    assert json.loads(json.dumps(report)) == report
    table, notes = markdown_table(report).split("\n\n")
    assert len({line.count("|") for line in table.splitlines()}) == 1
    assert "A Fast One, 2 cores, JAX on cpu" in notes
    assert "random weights" in notes
    assert "OpenCV" not in notes
    assert f"a match, {DEFAULT}, ONNX Runtime of one, scales=1." in notes


def test_it_is_shown_on_a_terminal(report):
    shown = io.StringIO()
    Console(file=shown, width=200).print(screen_table(report))
    for line in lines_of(report["sizes"]):
        for cell in line:
            assert cell in shown.getvalue()
