import numpy as np
import pytest

from astr_jax.data.readers import (
    PosedDataset,
    PosedPair,
    PosedPairs,
    UnreadableFile,
    scene_balanced,
)
from astr_jax.data.readers.views import View

SIZES = (250, 40, 0, 100)


def test_each_scene_gives_equally_many_and_different_pairs():
    order = scene_balanced(SIZES, seed=0, epoch=0)
    assert len(order) == 300
    for scene, size in enumerate(SIZES):
        pairs = order[order[:, 0] == scene, 1]
        assert len(pairs) == (100 if size else 0)
        times = np.bincount(pairs, minlength=size)
        assert times.max(initial=0) <= (1 if size >= 100 else 3)
        if 0 < size < 100:
            assert times.min() >= 2  # all of a small scene's pairs, equally often


def test_epochs_and_seeds_differ_and_are_repeatable():
    first = scene_balanced(SIZES, seed=0, epoch=0)
    np.testing.assert_array_equal(first, scene_balanced(SIZES, seed=0, epoch=0))
    assert (first != scene_balanced(SIZES, seed=0, epoch=1)).any()
    assert (first != scene_balanced(SIZES, seed=1, epoch=0)).any()
    assert (np.diff(first[:, 0]) != 0).mean() > 0.3  # scenes are mixed


def test_no_pairs_of_a_scene_are_refused():
    with pytest.raises(ValueError, match="per_scene"):
        scene_balanced(SIZES, seed=0, epoch=0, per_scene=0)


class Numbered(PosedDataset):
    """Two scenes of five pairs; a pair's grey is 10 scene + its number. Some cannot be read."""

    def __init__(self, folder, bad=()):
        self.folder, self.bad = folder, bad
        super().__init__(["0", "1"])

    def read_scene(self, scene):
        def view(k):
            grey = 10 * int(scene) + k
            image = np.full((8, 8), grey, np.uint8)
            return View(
                f"{grey}", self.folder / f"{grey}.png" if grey in self.bad else image, np.eye(3)
            )

        return [PosedPair(scene, view(k), view(k), np.eye(4)) for k in range(5)]


def grey_of(batch):
    return batch.image0[:, 0, 0]


def test_pairs_follow_from_their_number_alone(tmp_path):
    pairs = PosedPairs(Numbered(tmp_path), (8, 8), per_scene=4, seed=2)
    assert len(pairs) == 8
    batches = [pairs.stack(range(k, k + 3)) for k in range(0, 18, 3)]
    assert batches[0].image0.shape == (3, 8, 8)
    assert batches[0].truth.cam1_from_cam0.shape == (3, 4, 4)
    again = PosedPairs(Numbered(tmp_path), (8, 8), per_scene=4, seed=2)
    for step in (4, 5):  # as a run that goes on, and as the second of two processes
        rows = range(3 * step + 1, 3 * step + 3)
        np.testing.assert_array_equal(grey_of(again.stack(rows)), grey_of(batches[step])[1:])
    seen = np.concatenate([grey_of(b) for b in batches])[:8]
    assert len(set(seen)) == 8  # an epoch: four pairs of each scene
    assert (seen >= 10).sum() == 4


def test_a_bad_file_ends_the_run_unless_it_may_be_skipped(tmp_path):
    dataset = Numbered(tmp_path, bad=(3, 12, 13))
    with pytest.raises(UnreadableFile, match=r"\d+\.png"):
        PosedPairs(dataset, (8, 8), per_scene=5).stack(range(10))
    pairs = PosedPairs(dataset, (8, 8), per_scene=5, skip_bad=True)
    grey = grey_of(pairs.stack(range(10)))
    assert sorted(grey) == [0, 1, 2, 4, 4, 10, 11, 14, 14, 14]  # the next good one instead
    assert pairs.bad.keys() == {str(tmp_path / f"{k}.png") for k in (3, 12, 13)}
    report = pairs.bad.report().splitlines()
    assert report[0] == "unreadable files: 3"
    assert "12.png: " in report[1]


def test_a_scene_without_a_good_pair_ends_the_run(tmp_path):
    pairs = PosedPairs(Numbered(tmp_path, bad=range(10, 15)), (8, 8), per_scene=5, skip_bad=True)
    with pytest.raises(UnreadableFile, match="none of the 5 pairs"):
        pairs.stack(range(10))


class Lost(Numbered):
    def read_scene(self, scene):
        if scene == "1":
            raise UnreadableFile(self.folder / "1.npz", "there is no such index")
        return super().read_scene(scene)


def test_a_scene_without_an_index_is_skipped_only_on_request(tmp_path):
    with pytest.raises(UnreadableFile, match=r"1\.npz"):
        PosedPairs(Lost(tmp_path), (8, 8))
    pairs = PosedPairs(Lost(tmp_path), (8, 8), per_scene=5, skip_bad=True)
    assert len(pairs) == 5
    assert "1.npz: there is no such index" in pairs.bad.report()
    assert (grey_of(pairs.stack(range(5))) < 10).all()
