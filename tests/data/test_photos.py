import cv2
import numpy as np
import PIL.Image
import pytest

from astr_jax.cli import main as astr
from astr_jax.data.photos import (
    list_photos,
    read_photo,
    read_photos,
    split_photos,
    unpack_photos,
)


def test_a_photograph_is_turned_upright_by_its_exif_tag(tmp_path):
    picture = np.zeros((40, 60), np.uint8)
    picture[:, :20] = 255  # white at the left as stored
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise to see it so
    PIL.Image.fromarray(picture).convert("RGB").save(tmp_path / "upright.jpg", exif=exif)
    image = read_photo(tmp_path / "upright.jpg")
    assert image.shape == (60, 40)
    assert image[:18].min() > 200  # white at the top
    assert image[22:].max() < 50


def test_a_large_photograph_is_shrunk_to_its_long_side(tmp_path):
    cv2.imwrite(str(tmp_path / "large.png"), np.zeros((300, 900), np.uint8))
    assert read_photo(tmp_path / "large.png", long_side=600).shape == (200, 600)
    assert read_photo(tmp_path / "large.png", long_side=1000).shape == (300, 900)


@pytest.mark.parametrize("content", [b"", b"this is no picture"])
def test_an_unreadable_file_is_named(tmp_path, content):
    (tmp_path / "broken.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.jpg"):
        read_photos(list_photos(tmp_path))


def test_a_missing_file_and_an_empty_folder_are_named(tmp_path):
    with pytest.raises(OSError, match=r"gone\.jpg"):
        read_photo(tmp_path / "gone.jpg")
    with pytest.raises(FileNotFoundError, match="holds no photograph"):
        list_photos(tmp_path)
    with pytest.raises(FileNotFoundError, match="not a folder"):
        list_photos(tmp_path / "nowhere")


def test_only_photographs_are_listed_and_in_order(tmp_path):
    for name in ("b.JPG", "a.png", "SOURCES.md"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in list_photos(tmp_path)] == ["a.png", "b.JPG"]


def test_every_40th_photograph_is_held_back():
    names = [f"{k:03}.jpg" for k in range(100)]
    train, validation = split_photos(names[::-1])
    assert validation == ["000.jpg", "040.jpg", "080.jpg"]
    assert sorted(train + validation) == names
    assert len(train) == 97


@pytest.fixture
def folder(tmp_path):
    """Three ramps of different sizes in folders: 640 x 480 px at most."""
    folder = tmp_path / "photographs"
    for name, width in (("b/one.png", 40), ("a/two.png", 640), ("three.png", 50)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        ramp = np.tile(np.linspace(0, 200, width), (3 * width // 4, 1)).astype(np.uint8)
        cv2.imwrite(str(path), ramp)
    return folder


def test_a_packed_folder_is_the_folder(folder, tmp_path, capsys):
    packed = str(tmp_path / "packed.npz")
    assert astr(["data", "pack", str(folder), "--out", packed, "--side", "64"]) == 0
    assert "3 photographs" in capsys.readouterr().out
    packed = unpack_photos(tmp_path / "packed.npz")
    expected = read_photos(list_photos(folder), long_side=64)
    assert packed.names == expected.names == ("two.png", "one.png", "three.png")
    assert [image.shape for image in packed] == [(48, 64), (30, 40), (37, 50)]
    for actual, image in zip(packed, expected, strict=True):
        np.testing.assert_allclose(actual.astype(int), image, atol=6)


def test_another_file_is_not_taken_for_packed_photographs(tmp_path):
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(ValueError, match="not a packed file"):
        unpack_photos(tmp_path / "other.npz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--out", "packed.npz"], "nowhere is not a folder"),
        (["photographs", "--out", "packed.zip"], "must end in .npz"),
        (["photographs", "--out", "no/packed.npz"], "its folder does not exist"),
        (["photographs", "--out", "packed.npz", "--side", "0"], "--side must be positive"),
    ],
)
def test_packing_says_what_is_wrong_in_one_line(folder, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(folder.parent)
    assert astr(["data", "pack", *arguments]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not list(folder.parent.glob("*.npz"))
