import cv2
import numpy as np
import PIL.Image
import pytest

from astr_jax.cli import main as astr
from astr_jax.data.homography import HomographyConfig, make_pair
from astr_jax.data.photometry import filling
from astr_jax.data.photos import (
    Photos,
    list_photos,
    open_photos,
    read_photo,
    read_photos,
    split_photos,
    unpack_photos,
)
from astr_jax.data.readers import BadFiles
from astr_jax.data.worlds.atlas import make_atlas
from astr_jax.images import ImageWarning, prepare


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


def test_linked_folders_are_followed_once(folder, tmp_path):
    """One link leads to photographs elsewhere, others in circles."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    cv2.imwrite(str(elsewhere / "far.png"), np.zeros((20, 20), np.uint8))
    (folder / "link").symlink_to(elsewhere, target_is_directory=True)
    (folder / "a" / "up").symlink_to(folder, target_is_directory=True)
    (elsewhere / "round").symlink_to(elsewhere, target_is_directory=True)
    (folder / "far.png").symlink_to(elsewhere / "far.png")  # a linked file is another name
    names = [str(path.relative_to(folder)) for path in list_photos(folder)]
    assert names == ["a/two.png", "b/one.png", "far.png", "link/far.png", "three.png"]


@pytest.fixture
def partly_bad(folder):
    """Two photographs that cannot be read, and three that can."""
    (folder / "a" / "empty.jpg").write_bytes(b"")
    (folder / "cut.png").write_bytes((folder / "a" / "two.png").read_bytes()[:30])
    return folder


def test_all_bad_photographs_are_named_at_once(partly_bad):
    with pytest.raises(ValueError, match=r"(?s)unreadable files: 2.*empty\.jpg.*cut\.png"):
        open_photos(partly_bad)


def test_bad_photographs_are_left_out_and_counted_where_this_is_asked_for(partly_bad, tmp_path):
    bad = BadFiles(skip=True)
    train, held_back = open_photos(partly_bad, bad)
    assert train.names + held_back.names == ("one.png", "three.png", "two.png")
    assert [path.rsplit("/", 1)[1] for path in sorted(bad)] == ["empty.jpg", "cut.png"]


def test_the_command_packs_what_can_be_read_where_this_is_asked_for(partly_bad, tmp_path, capsys):
    words = ["data", "pack", str(partly_bad), "--out", str(tmp_path / "packed.npz")]
    assert astr(words) == 2
    assert "unreadable files: 2" in capsys.readouterr().err
    assert not (tmp_path / "packed.npz").exists()
    assert astr([*words, "--skip-bad"]) == 0
    said = capsys.readouterr().out
    assert "unreadable files: 2" in said
    assert "3 photographs" in said
    assert len(unpack_photos(tmp_path / "packed.npz")) == 3


def test_nothing_to_read_is_an_error_whatever_is_skipped(tmp_path):
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="unreadable files: 1"):
        open_photos(tmp_path, BadFiles(skip=True))


def test_one_photograph_alone_cannot_be_trained_on(tmp_path):
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((40, 40), np.uint8))
    with pytest.raises(ValueError, match="holds one photograph, which is held back"):
        open_photos(tmp_path)


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_photographs_of_sixteen_bits_use_their_range_as_matched_images_do(tmp_path, kind):
    ramp = np.tile(np.linspace(0, 4095, 80), (60, 1)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / f"deep.{kind}"), ramp)
    with pytest.warns(ImageWarning, match="small part"):
        photo = read_photo(tmp_path / f"deep.{kind}")
    with pytest.warns(ImageWarning, match="small part"):
        matched = prepare(tmp_path / f"deep.{kind}", None, resize=80, name="image")
    np.testing.assert_allclose(photo / 255, matched.pixels[0], atol=0.5 / 255 + 1e-6)
    assert (photo.min(), photo.max()) == (0, 255)


def test_a_photograph_behind_a_preview_is_read_whole(tmp_path):
    small, large = np.zeros((12, 16), np.uint8), np.full((96, 128), 200, np.uint8)
    PIL.Image.fromarray(small).save(
        tmp_path / "two.tif", save_all=True, append_images=[PIL.Image.fromarray(large)]
    )
    with pytest.warns(ImageWarning, match="128 x 96"):
        np.testing.assert_array_equal(read_photo(tmp_path / "two.tif"), large)


@pytest.mark.parametrize("shape", [(40, 40, 3), (40, 40, 4), (3, 40, 40)])
def test_arrays_to_train_on_are_grey_or_named(shape, rng):
    array = np.zeros(shape, np.uint8)
    grey = np.zeros((64, 64), np.uint8)
    for make in (
        lambda: Photos(("bad",), (array,)),
        lambda: make_pair(array, rng, 0.5, HomographyConfig()),
        lambda: make_atlas([grey, array]),
        lambda: filling((8, 8), np.random.default_rng(0), [array]),
    ):
        with pytest.raises(ValueError, match=r"must be uint8 grey \[h w\].*read_photo"):
            make()
