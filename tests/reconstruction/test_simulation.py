"""Bulk matching of an invented world, killed and resumed: nothing is lost."""

import numpy as np
import pytest

from astr_jax.evaluation.studies.invented_world import SIZE, World
from astr_jax.evaluation.studies.store_simulation import simulate


def test_killed_in_the_middle_of_files_nothing_is_lost(tmp_path):
    world = World(images=20, partners=3, keypoints=120)
    found = simulate(world, tmp_path, part_pairs=4, deaths=(2,))
    assert (found.pairs, found.kills, found.lost) == (60, 2, 0)
    assert found.database == "ok"
    assert found.database_matches == found.expected_matches > 60 * 20
    assert found.track_length > 2.5
    assert found.peak < 1024
    assert len(list((tmp_path / "shard1").glob(".part-*"))) == 1  # what the kill left half written
    assert list(found.seconds) == ["match", "gather", "tracks", "database"]
    with pytest.raises(ValueError, match="must be empty"):
        simulate(world, tmp_path)


def test_a_point_has_one_place_in_an_image_in_all_of_its_pairs():
    world = World(images=20, partners=3, keypoints=120)
    assert len(set(world.pairs)) == 60
    _, own = world.keypoints_of(0)
    assert ((own > 0) & (own < np.array(SIZE) - 1)).all()
    for pair in (("00000.jpg", "00001.jpg"), ("00000.jpg", "00018.jpg")):
        found = world.matches(pair)
        assert 10 < len(found.confidence) < len(own)
        assert set(map(tuple, found.keypoints0)) < set(map(tuple, own))
    with pytest.raises(ValueError, match="less than half"):
        World(images=6, partners=3)
