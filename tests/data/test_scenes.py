"""Scenes of photographs with tracks: reading COLMAP models, and the packed file."""

import cv2
import numpy as np
import pytest
from data.written_scenes import HEIGHT, WIDTH, write_scene

from astr_jax.cli import main as astr
from astr_jax.data.readers.bad_files import UnreadableFile
from astr_jax.data.scenes import (
    LEAST_COMMON,
    list_scenes,
    open_scenes,
    pack_scenes,
    read_scene,
    read_scenes,
)


def reprojected(scene, i):
    pose, rows = scene.cam_from_world[i], scene.rows[i]
    at = scene.xyz[rows] @ pose[:3, :3].T + pose[:3, 3]
    at = at @ scene.K[i].T
    return at[:, :2] / at[:, 2:]


@pytest.mark.parametrize("long_side", [640, 80])
def test_a_scene_is_read_and_shrunk_with_its_cameras_and_points(tmp_path, rng, long_side):
    write_scene(tmp_path / "yard", rng)
    scene = read_scene(tmp_path / "yard", long_side=long_side)
    assert scene.name == "yard"
    assert len(scene.images) == 3
    assert max(scene.images[0].shape) == min(long_side, WIDTH)
    for i in range(3):
        np.testing.assert_allclose(reprojected(scene, i), scene.keypoints[i], atol=1e-6)
    # The middle of the picture stays its middle.
    middle = (np.array(scene.images[0].shape[::-1]) - 1) / 2
    np.testing.assert_allclose(scene.K[0, :2, 2], middle, atol=1e-9)


def test_pairs_have_enough_common_tracks_and_parallax(tmp_path, rng):
    write_scene(tmp_path / "wide", rng)
    index, overlap = read_scene(tmp_path / "wide").pairs
    assert index.tolist() == [[0, 1], [0, 2], [1, 2]]
    np.testing.assert_allclose(overlap, 1.0)
    write_scene(tmp_path / "still", rng, step=0.01)
    assert len(read_scene(tmp_path / "still").pairs[0]) == 0
    write_scene(tmp_path / "few", rng, points=LEAST_COMMON - 1)
    assert len(read_scene(tmp_path / "few").pairs[0]) == 0


def test_what_is_measured_badly_is_left_out(tmp_path, rng):
    write_scene(tmp_path / "a", rng, off=1.5)
    scene = read_scene(tmp_path / "a")
    assert [len(rows) for rows in scene.rows] == [59, 59, 59]


def test_a_packed_file_holds_the_same(tmp_path, rng):
    write_scene(tmp_path / "all" / "a", rng)
    write_scene(tmp_path / "all" / "b", rng, views=4, points=40)
    scenes = read_scenes(tmp_path / "all", long_side=96)
    pack_scenes(scenes, tmp_path / "scenes.npz", quality=95)
    for was, now in zip(scenes, open_scenes(tmp_path / "scenes.npz"), strict=True):
        assert was.name == now.name
        assert len(was.images) == len(now.images)
        for a, b in zip(was.images, now.images, strict=True):
            assert a.shape == b.shape
            assert np.abs(a.astype(int) - b).mean() < 6
        for a, b in zip(was.rows, now.rows, strict=True):
            np.testing.assert_array_equal(a, b)
        for a, b in zip(was.keypoints, now.keypoints, strict=True):
            np.testing.assert_allclose(a, b, atol=1 / 64)
        np.testing.assert_allclose(was.xyz, now.xyz, rtol=1e-6)
        np.testing.assert_allclose(was.K, now.K)
        np.testing.assert_array_equal(was.pairs[0], now.pairs[0])


def test_the_command_packs_a_folder_without_what_is_kept_to_measure_on(tmp_path, rng, capsys):
    for name in ("a", "b"):
        write_scene(tmp_path / "all" / name, rng)
    (tmp_path / "all" / "notes").mkdir()  # no scene
    words = ["data", "pack-scenes", str(tmp_path / "all"), "--out", str(tmp_path / "s.npz")]
    assert astr([*words, "--without", "b", "--side", "96"]) == 0
    assert "1 scenes, 3 photographs, 3 pairs" in capsys.readouterr().out
    assert [scene.name for scene in open_scenes(tmp_path / "s.npz")] == ["a"]
    assert astr([*words, "--without", "c"]) == 2
    assert "names no scene" in capsys.readouterr().err
    assert astr([*words, "--without", "a", "b"]) == 2
    assert "none is left" in capsys.readouterr().err


def test_bad_scenes_are_named(tmp_path, rng):
    write_scene(tmp_path / "a", rng)
    small = np.zeros((HEIGHT // 2, WIDTH // 2 + 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a" / "images" / "1.png"), small)
    with pytest.raises(UnreadableFile, match=r"1\.png.*calibrated for 128 x 96"):
        read_scene(tmp_path / "a")
    (tmp_path / "a" / "images" / "1.png").unlink()
    with pytest.raises(UnreadableFile, match=r"1\.png"):
        read_scene(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no scene"):
        list_scenes(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="not a folder"):
        list_scenes(tmp_path / "nowhere")
    np.savez(tmp_path / "other.npz", names=np.zeros(1))
    with pytest.raises(ValueError, match="not a packed file of scenes"):
        open_scenes(tmp_path / "other.npz")
