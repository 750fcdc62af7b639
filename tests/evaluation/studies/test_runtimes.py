"""Runtimes side by side: the same program, so the same matches; what differs is seen."""

import json

import numpy as np
import pytest
from PIL import Image

from astr_jax.cli import main
from astr_jax.evaluation.benchmarks.pairs import read_pairs
from astr_jax.evaluation.studies.runtimes import JAX, check_size, compared, in_turn, lines_of

SIZE = (64, 96)


@pytest.fixture
def folder(tmp_path):
    """Two sets, of three pairs and of one."""
    for name, count in (("many", 3), ("one", 1)):
        place = tmp_path / name
        place.mkdir()
        Image.new("L", SIZE[::-1], 90).save(place / "a.png")
        entries = []
        for k in range(count):
            Image.new("L", SIZE[::-1], 90 + k).save(place / f"b{k}.png")
            entries.append({"image0": "a.png", "image1": f"b{k}.png", "H_0to1": np.eye(3).tolist()})
        (place / "index.json").write_text(json.dumps(entries))
    return tmp_path


def runtime(moved):
    """Two matches, the first of them so many pixels away from where it belongs."""

    def run(image0, image1, mask0, mask1, threshold):
        assert image0.shape == mask1.shape == (1, *SIZE)
        assert threshold == np.float32(0.5)
        points = np.array([[[8.0, 8.0], [16.0, 8.0]]], np.float32)
        there = points + np.array([[[moved, 0], [0, 0]]], np.float32)
        return {
            "keypoints0": points,
            "keypoints1": there,
            "covariance": np.zeros((1, 2, 2, 2), np.float32),
            "scale": np.ones((1, 2), np.float32),
            "cell0": np.array([[13, 14]]),
            "cell1": np.array([[13, 14]]),
            "confidence": np.array([[0.9, 0.8]], np.float32),
            "valid": np.array([[True, True]]),
        }

    return run


def test_the_table_says_how_much_is_the_same_and_how_far_the_rest_is(folder):
    pairs = in_turn(read_pairs([folder]), 3)
    assert [pair.set for pair in pairs] == ["many", "one", "many"]
    runtimes = {JAX: runtime(0.0), "near": runtime(0.01), "far": runtime(0.25)}
    rows = list(compared(runtimes, pairs, SIZE, 0.5))
    assert [row.matches for row in rows] == [2, 2, 2]
    head, jax_row, near, far = lines_of(rows)
    assert head[1] == "the same within 0.02 px"
    assert jax_row[:4] == ["JAX", "-", "-", "-"]
    assert near[:4] == ["near", "100.00%", "100.00%", "0.01"]
    assert far[:4] == ["far", "50.00%", "50.00%", "0.25"]
    assert all(float(x) >= 0 for x in far[4:])


def test_a_folder_of_another_size_is_refused_in_words():
    with pytest.raises(ValueError, match="graphs holds programs for 96 x 64; 640 x 480 was"):
        check_size([64, 96], (480, 640), "graphs")


def test_mistakes_are_one_line(folder, capsys):
    assert main(["eval", "runtimes", str(folder)]) == 2
    assert "nothing to compare JAX with" in capsys.readouterr().err
    assert main(["eval", "runtimes", str(folder), "--stablehlo", str(folder)]) == 2
    assert "about.json: astr export --stablehlo" in capsys.readouterr().err
