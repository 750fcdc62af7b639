"""What a run keeps in its folder: the pairs of steps that were not finite."""

import jax
import numpy as np
import pytest

from astr_jax.supervision import PairBatch, PlaneTruth
from astr_jax.training import devices, run_folder
from astr_jax.training.run_folder import save_bad_batch


@pytest.fixture
def batch():
    """A batch on two devices."""
    image, seen = np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8), np.ones((4, 8, 8), bool)
    homography = np.arange(36, dtype=np.float32).reshape(4, 3, 3)
    pairs = PairBatch(image, image + 1, None, seen, PlaneTruth(homography, seen, seen))
    mesh = devices.data_mesh(jax.devices()[:2])
    return jax.device_put(pairs, devices.split(mesh))


def test_the_pairs_of_a_bad_step_are_saved_by_the_paths_of_their_fields(batch, tmp_path):
    words = save_bad_batch(tmp_path, 7, lambda: batch)
    assert words == f"Its pairs: {tmp_path / 'bad-step-0000007.npz'}"
    with np.load(tmp_path / "bad-step-0000007.npz") as file:
        expected = {"image0", "image1", "mask1"}  # there was no mask0
        expected |= {f"truth/{name}" for name in ("homography", "visible0", "visible1")}
        assert set(file) == expected
        np.testing.assert_array_equal(file["truth/homography"], batch.truth.homography)
        np.testing.assert_array_equal(file["image1"], batch.image1)


def test_only_the_first_bad_batches_are_made_and_kept(batch, tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "MOST_BAD_FILES", 2)
    made = []
    for step in range(4):
        save_bad_batch(tmp_path, step, lambda: made.append(1) or batch)
    assert len(made) == len(list(tmp_path.iterdir())) == 2
    assert save_bad_batch(tmp_path, 9, lambda: batch) is None


def test_a_full_disk_costs_the_pairs_and_not_the_run(batch, tmp_path):
    words = save_bad_batch(tmp_path / "nowhere", 3, lambda: batch)
    assert words.startswith("Its pairs could not be saved (")
