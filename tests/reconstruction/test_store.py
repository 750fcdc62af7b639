"""Matches of many pairs on disk: whole at any moment, and nothing done twice."""

import itertools
import pathlib

import numpy as np
import pytest

from astr_jax.images import Prepared
from astr_jax.matching import EncodedImage, Matcher
from astr_jax.matching.first_look import Glance
from astr_jax.reconstruction.bulk import Shard, in_blocks, match_pairs
from astr_jax.reconstruction.store import MatchStore, StoredMatches
from astr_jax.types import Matches

NAMES = [f"{n}.jpg" for n in range(6)]
BLANK = Prepared(np.zeros((1, 8, 8)), np.ones((1, 8, 8), bool), (1.0, 1.0), False)
PAIRS = list(itertools.combinations(NAMES, 2))


def rows_of(pair):
    """Invented matches of a pair, other ones for each; none for the last pair."""
    count = 0 if pair == PAIRS[-1] else 3 + int(pair[0][0]) + 2 * int(pair[1][0])
    points = np.arange(2 * count, dtype=np.float32).reshape(count, 2) + int(pair[0][0])
    half = np.full(count, 0.5, np.float32)
    return StoredMatches(points, points + 0.25, half, half)


class FakeMatcher(Matcher):
    """Matches by rows_of; after `most` pairs it is killed."""

    def __init__(self, most=1000):
        self.most, self.encoded, self.matched = most, [], []

    def encode(self, path, mask=None, *, name="image"):
        self.encoded.append(path)
        return EncodedImage(BLANK, lambda prepared, shrink: None, path.name)

    def match(self, image0, image1, K0=None, K1=None, *, keypoints0=None):
        image0, image1 = image0.name, image1.name
        if len(self.matched) == self.most:
            raise KeyboardInterrupt
        self.matched.append((image0, image1))
        rows = rows_of((image0, image1))
        k = len(rows.confidence)
        return Matches(
            rows.keypoints0,
            rows.keypoints1,
            rows.confidence,
            np.full((k, 2, 2), np.eye(2, dtype=np.float32) / 4),
            np.ones(k, np.float32),
            *(np.zeros(k, np.int32) for _ in range(2)),
            np.ones(k, bool),
        )


def run(store, matcher, pairs=PAIRS, **options):
    return match_pairs(
        matcher, pairs, {name: pathlib.Path(name) for name in NAMES}, store, **options
    )


def check_all(store):
    assert set(store.pairs) == set(PAIRS)
    for pair in PAIRS:
        for found, expected in zip(store.read(pair), rows_of(pair), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_pairs_that_hardly_agree_in_the_first_look_are_not_matched(tmp_path):
    class Glancing(FakeMatcher):
        def glance(self, image0, image1):
            return Glance(0, (1.0,), 0.04 if image0.name == NAMES[0] else 0.02)

        def match(self, image0, image1, K0=None, K1=None, *, keypoints0=None, glance=None):
            assert glance.agreeing == 0.04
            return super().match(image0, image1)

    matcher, store = Glancing(), MatchStore(tmp_path, {})
    run(store, matcher, least_agreeing=0.03)
    assert matcher.matched == PAIRS[:5]
    assert set(store.pairs) == set(PAIRS)
    assert len(store.read(PAIRS[0]).confidence) == len(rows_of(PAIRS[0]).confidence)
    assert len(store.read(PAIRS[7]).confidence) == 0


def test_a_stopped_run_goes_on_where_it_was(tmp_path):
    first, second = FakeMatcher(most=7), FakeMatcher()
    with pytest.raises(KeyboardInterrupt):
        run(MatchStore(tmp_path, {"resize": 640}), first)
    assert run(MatchStore(tmp_path, {"resize": 640}), second) == len(PAIRS) - 7
    assert not set(first.matched) & set(second.matched)
    check_all(MatchStore(tmp_path))


def test_a_kill_in_the_middle_of_writing_loses_that_part_alone(tmp_path):
    store, ticks = MatchStore(tmp_path, {}), itertools.count(step=100.0)
    run(store, FakeMatcher(), PAIRS[:4], clock=lambda: next(ticks))
    assert len(list(tmp_path.glob("part-*"))) == 4
    whole = next(tmp_path.glob("part-*")).read_bytes()
    (tmp_path / ".part-0123.99.safetensors").write_bytes(whole[: len(whole) // 2])
    run(MatchStore(tmp_path, {}), FakeMatcher())
    check_all(MatchStore(tmp_path))


def test_shards_together_are_the_whole_list_and_may_run_in_any_order(tmp_path):
    for number in (3, 1, 2):
        run(MatchStore(tmp_path, {}), FakeMatcher(), Shard(number, 3).of(PAIRS))
    check_all(MatchStore(tmp_path))


def test_folders_of_shards_are_gathered_once(tmp_path):
    for number in (1, 2):
        place = MatchStore(tmp_path / str(number), {"resize": 640})
        run(place, FakeMatcher(), Shard(number, 2).of(PAIRS))
    whole = MatchStore(tmp_path / "whole", {"resize": 640})
    assert [whole.gather(tmp_path / number) for number in "122"] == [1, 1, 0]
    check_all(whole)
    MatchStore(tmp_path / "other", {"resize": 832})
    with pytest.raises(ValueError, match="other settings: resize differ"):
        whole.gather(tmp_path / "other")


def test_a_folder_of_other_settings_is_refused(tmp_path):
    MatchStore(tmp_path, {"resize": 640, "scales": (1, 2)})
    MatchStore(tmp_path, {"resize": 640, "scales": (1, 2)})
    with pytest.raises(ValueError, match="other settings: resize differ"):
        MatchStore(tmp_path, {"resize": 832, "scales": (1, 2)})


def test_a_damaged_part_is_named(tmp_path):
    store = MatchStore(tmp_path, {})
    part = store.write([(PAIRS[0], rows_of(PAIRS[0]))])
    part.write_bytes(part.read_bytes()[:20])
    with pytest.raises(ValueError, match=f"{part.name} is damaged"):
        MatchStore(tmp_path)


def test_images_recur_while_they_are_in_memory(tmp_path):
    matcher = FakeMatcher()
    run(MatchStore(tmp_path, {}), matcher, in_blocks(PAIRS[::-1], block=2), keep=4)
    assert len(matcher.encoded) <= 10  # 30 without memory; 6 if all were kept


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b"])
def test_a_shard_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="a shard is i/n"):
        Shard.parse(text)
