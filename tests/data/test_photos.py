import cv2
import numpy as np
import PIL.Image
import pytest

from astr_jax.data.photos import (
    Photos,
    list_photos,
    pack_photos,
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


def test_packed_photographs_come_back_with_their_names(tmp_path):
    ramps = tuple(
        np.tile(np.linspace(0, 200, width), (30 + width, 1)).astype(np.uint8)
        for width in (40, 64, 50)
    )
    photos = Photos(("a.jpg", "b.jpg", "c.jpg"), ramps)
    pack_photos(photos, tmp_path / "photos.npz")
    unpacked = unpack_photos(tmp_path / "photos.npz")
    assert unpacked.names == photos.names
    for actual, expected in zip(unpacked, photos, strict=True):
        np.testing.assert_allclose(actual.astype(int), expected, atol=6)


def test_another_file_is_not_taken_for_packed_photographs(tmp_path):
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(ValueError, match="not a packed file"):
        unpack_photos(tmp_path / "other.npz")
    with pytest.raises(ValueError, match=r"end in \.npz"):
        pack_photos(Photos((), ()), tmp_path / "photos.zip")
