"""Files for COLMAP and hloc hold more than 32,767 matches of one pair."""

import h5py
import numpy as np
import pycolmap
from PIL import Image

from astr_jax.evaluation.localisation.hloc_files import write_hloc_matches
from astr_jax.reconstruction.database import write_database
from astr_jax.reconstruction.mapping import quiet
from astr_jax.reconstruction.photos import find_photos
from astr_jax.reconstruction.tracks import Tracks


def test_colmaps_database(many, tmp_path):
    folder, count = tmp_path / "photos", len(many)
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("L", (640, 64)).save(folder / name)
    both = np.stack([many.keypoints0, np.add(many.keypoints1, (3, 2))], axis=1)
    tracks = Tracks(
        names=("a.png", "b.png"),
        track=np.repeat(np.arange(count), 2),
        image=np.tile([0, 1], count),
        points=both.reshape(-1, 2),
        sigma=np.ones(2 * count),
    )
    with quiet():
        assert write_database(tmp_path / "d.db", folder, find_photos(folder), tracks) == 1
    with pycolmap.Database.open(tmp_path / "d.db") as database:
        ids = [database.read_image_with_name(name).image_id for name in tracks.names]
        points = [database.read_keypoints(number)[:, :2] for number in ids]
        matches = database.read_matches(*ids)
        inliers = database.read_two_view_geometry(*ids).inlier_matches
    assert matches.dtype == np.uint32
    np.testing.assert_array_equal(matches, np.tile(np.arange(count)[:, None], 2))
    assert len(inliers) == count
    for k in (0, 1):
        np.testing.assert_array_equal(points[k], both[:, k].astype(np.float32) + np.float32(0.5))


def test_hlocs_matches(many, tmp_path):
    partner = np.arange(len(many))[::-1]
    write_hloc_matches(tmp_path / "m.h5", [(("a.jpg", "b.jpg"), partner, many.confidence)])
    with h5py.File(tmp_path / "m.h5") as file:
        found = file["a.jpg/b.jpg/matches0"][()]
        assert file["a.jpg/b.jpg/matching_scores0"].dtype == np.float16
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, partner)
