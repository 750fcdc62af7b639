"""Lists of pairs."""

import itertools

import numpy as np
import pytest

from astr_jax.reconstruction.pairs import (
    covisible,
    exhaustive,
    most_similar,
    read_pairs,
    sequential,
    write_pairs,
)

NAMES = ["a 1.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"]


def test_exhaustive_pairs_are_each_with_each_once():
    assert len(set(map(frozenset, exhaustive(NAMES)))) == 10


def test_sequential_pairs_are_near_and_close_loops():
    pairs = sequential(NAMES, window=1, loop_every=2)
    assert pairs[:4] == list(itertools.pairwise(NAMES))
    assert set(pairs[4:]) == {(NAMES[0], NAMES[2]), (NAMES[0], NAMES[4]), (NAMES[2], NAMES[4])}


def test_most_similar_takes_the_best_of_each_and_nothing_unknown():
    similarity = np.array([[0, 9, 1, 0], [9, 0, 5, 0], [1, 5, 0, 0], [0, 0, 0, 0.0]])
    similarity[3] = similarity[:, 3] = np.nan
    assert most_similar(NAMES[:4], similarity, most=1) == [
        (NAMES[0], NAMES[1]),
        (NAMES[1], NAMES[2]),
    ]


def test_covisible_pairs_share_enough_points():
    points = [np.arange(20), np.arange(10, 40), np.arange(35, 60)]
    assert covisible(NAMES[:3], points, most=2, least=10) == [(NAMES[0], NAMES[1])]


def test_a_written_list_is_read_back_and_a_hand_made_one_too(tmp_path):
    pairs = exhaustive(NAMES)
    write_pairs(tmp_path / "pairs.txt", pairs)
    assert read_pairs(tmp_path / "pairs.txt", NAMES) == pairs
    (tmp_path / "own.txt").write_text("# mine\nb.jpg c.jpg\n\nc.jpg b.jpg\n")
    assert read_pairs(tmp_path / "own.txt", NAMES) == [("b.jpg", "c.jpg")]


@pytest.mark.parametrize(
    ("text", "words"),
    [("b.jpg x.jpg", "no photograph 'x.jpg'"), ("b.jpg", "line 1: expected two"), ("", "no pair")],
)
def test_a_bad_list_is_refused(tmp_path, text, words):
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_pairs(tmp_path / "pairs.txt", NAMES)
