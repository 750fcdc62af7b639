"""Photographs and scenes in one file: its size, what gives way, and that training reads it."""

import cv2
import numpy as np
import pytest
from test_scenes import write_scene

from astr_jax.cli import main as astr
from astr_jax.data.packing import LEAST_QUALITY, evenly, fitted, pack
from astr_jax.data.photos import Photos, open_photos, unpack_photos
from astr_jax.data.scenes import open_scenes, read_scenes


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (12, 90, 120), dtype=np.uint8)
    return Photos(
        tuple(f"{k:02}.png" for k in range(12)),
        tuple(cv2.GaussianBlur(image, (0, 0), 0.8) for image in noise),
    )


@pytest.fixture
def scenes(tmp_path, rng):
    write_scene(tmp_path / "all" / "a", rng)
    write_scene(tmp_path / "all" / "b", rng, views=4, points=40)
    return read_scenes(tmp_path / "all")


def test_one_file_holds_both_and_is_read_as_either(photos, scenes, tmp_path):
    out = tmp_path / "data.npz"
    assert pack(photos, scenes, out, quality=90, most=float("inf")) == (90, 12)
    for was, now in zip(photos, unpack_photos(out), strict=True):
        assert np.abs(was.astype(int) - now).mean() < 6
    train, held_back = open_photos(out)
    assert sorted(train.names + held_back.names) == list(photos.names)
    for was, now in zip(scenes, open_scenes(out), strict=True):
        assert (was.name, len(was.images)) == (now.name, len(now.images))
        assert np.abs(was.images[-1].astype(int) - now.images[-1]).mean() < 6
        np.testing.assert_array_equal(was.rows[1], now.rows[1])
        np.testing.assert_allclose(was.xyz, now.xyz, rtol=1e-6)


def test_quality_gives_way_first_then_photographs_and_never_scenes(photos, scenes, tmp_path):
    out = tmp_path / "data.npz"
    pack(photos, scenes, out, quality=90, most=float("inf"))
    whole, found = out.stat().st_size, []
    for share in (0.9, 0.7, 0.4):
        quality, kept = pack(photos, scenes, out, quality=90, most=share * whole)
        assert out.stat().st_size <= share * whole
        assert len(open_scenes(out)) == 2
        assert len(unpack_photos(out)) == kept
        found.append((quality, kept))
    assert LEAST_QUALITY < found[0][0] < 90
    assert found[0][1] == 12
    assert found[-1][0] == LEAST_QUALITY
    assert 0 < found[-1][1] < 12
    with pytest.raises(ValueError, match="The scenes do not fit"):
        pack(photos, scenes, out, quality=90, most=0.05 * whole)


def test_the_best_quality_that_fits_is_taken(photos):
    sizes = {}
    for quality in range(40, 91):
        one, streams = fitted(photos.images, float("inf"), range(quality, quality + 1))
        sizes[one] = sum(map(len, streams))
    for room in (sizes[90], sizes[73], sizes[73] - 1, sizes[40], 1):
        best, streams = fitted(photos.images, room, range(40, 91))
        assert sum(map(len, streams)) == sizes[best]
        assert best == max((q for q in sizes if sizes[q] <= room), default=40)


def test_what_is_left_of_the_photographs_is_spread_over_all():
    streams = [np.zeros(10, np.uint8)] * 9
    assert evenly(streams, 90) == list(range(9))
    assert evenly(streams, 59) == [0, 2, 4, 6, 8]
    assert evenly(streams, 9) == []


def test_the_command_packs_both_without_what_is_kept_to_measure_on(
    photos, scenes, tmp_path, capsys
):
    (tmp_path / "photos").mkdir()
    for name, image in zip(photos.names, photos, strict=True):
        cv2.imwrite(str(tmp_path / "photos" / name), image)
    out = tmp_path / "data.npz"
    words = ["data", "pack", str(tmp_path / "photos"), "--out", str(out), "--most", "0.06"]
    given = ["--scenes", str(tmp_path / "all"), "--without", "b", "--side", "100"]
    assert astr([*words, *given]) == 0
    assert (
        "12 of 12 photographs, 1 scenes with 3 photographs and 3 pairs" in capsys.readouterr().out
    )
    assert out.stat().st_size <= 0.06 * 2**20
    assert [scene.name for scene in open_scenes(out)] == ["a"]
    assert max(open_photos(out)[0][0].shape) == 100
    assert astr([*words, *given, "--without", "c"]) == 2
    assert "names no scene" in capsys.readouterr().err
    assert astr([*words, "--without", "b"]) == 2
    assert "name their folder by --scenes" in capsys.readouterr().err
    assert astr([*words[:-1], "0"]) == 2
    assert "--most is a size in MiB" in capsys.readouterr().err
