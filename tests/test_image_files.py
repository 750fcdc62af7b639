"""Image files: the largest page of several, bytes in memory, sixteen bits, and what is refused."""

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from astr_jax.images import ImageWarning, prepare, stored_shape

GREY = np.add.outer(np.arange(12) * 17, np.arange(16) * 4).astype(np.uint8)  # 0 to 247


def grey_of(image, resize=64):
    return prepare(image, None, resize=resize, name="image")


def saved_pages(path, *images, **options):
    """A TIFF of several pages, the first one first."""
    first, *others = [Image.fromarray(image) for image in images]
    first.save(path, save_all=True, append_images=others, **options)


@pytest.mark.parametrize("big", [False, True])
def test_of_a_file_with_a_preview_the_largest_image_is_read(tmp_path, big):
    path = tmp_path / "pages.tif"
    large = np.kron(GREY, np.ones((4, 4), np.uint8))
    saved_pages(path, GREY, large, GREY[:6], large[::-1], big_tiff=big)
    with pytest.warns(ImageWarning, match=r"pages.tif begins with a smaller.* 64 x 48 is"):
        np.testing.assert_allclose(grey_of(path).pixels[0], large / 255, atol=1e-6)
    with pytest.warns(ImageWarning, match="64 x 48"):
        assert stored_shape(path) == large.shape
    saved_pages(path, large, GREY)  # a pyramid: nothing to say
    np.testing.assert_allclose(grey_of(path).pixels[0], large / 255, atol=1e-6)


def with_sub_directory(path, main, preview, *, turn=1, damaged=False):
    """A file as DNG has it: the preview first, the picture in a directory below it."""
    exif = Image.Exif()
    exif[0x0112], exif[330] = turn, 0
    Image.fromarray(preview).save(path, "TIFF", exif=exif)
    head = bytearray(path.read_bytes())
    Image.fromarray(main).save(path, "TIFF", compression="tiff_lzw" if damaged else None)
    tail, shift = bytearray(path.read_bytes()), len(head)
    if damaged:
        tail[tail.index(b"\x03\x01\x03\x00\x01\x00\x00\x00") + 8] = 99  # no such compression
    order, offset = "<", struct.unpack("<L", tail[4:8])[0]
    count = struct.unpack(order + "H", tail[offset : offset + 2])[0]
    for k in range(count):  # what the entries point to has moved
        at = offset + 2 + 12 * k
        tag, kind, many, value = struct.unpack("<HHLL", tail[at : at + 12])
        size = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8}.get(kind, 1) * many
        if size > 4 or tag == 273:
            struct.pack_into("<L", tail, at + 8, value + shift)
    where = head.index(struct.pack("<H", 330), struct.unpack("<L", head[4:8])[0])
    struct.pack_into("<HHLL", head, where, 330, 4, 1, shift + offset)
    path.write_bytes(bytes(head + tail))


def test_a_picture_below_its_preview_is_found_and_turned_as_the_file_says(tmp_path):
    large = np.kron(GREY, np.ones((4, 4), np.uint8))
    with_sub_directory(tmp_path / "raw.dng", large, GREY, turn=6)
    with pytest.warns(ImageWarning, match="that of 64 x 48 is read"):
        found = grey_of(tmp_path / "raw.dng")
    np.testing.assert_allclose(found.pixels[0], large[::-1].T / 255, atol=1e-6)


def test_a_preview_is_named_where_the_picture_below_it_cannot_be_read(tmp_path):
    large = np.kron(GREY, np.ones((4, 4), np.uint8))
    with_sub_directory(tmp_path / "raw.dng", large, GREY, damaged=True)
    with pytest.warns(ImageWarning, match=r"is read at 16 x 12, as a preview.*64 x 48 cannot"):
        np.testing.assert_allclose(grey_of(tmp_path / "raw.dng").pixels[0], GREY / 255, atol=1e-6)


@pytest.mark.parametrize("form", ["bytes", "bytearray", "BytesIO", "open file"])
def test_a_file_in_memory_is_a_file(tmp_path, form):
    path = tmp_path / "image.png"
    Image.fromarray(GREY).save(path)
    content = path.read_bytes()
    with path.open("rb") as file:
        file.read(5)  # wherever it stands
        given = {"bytes": content, "bytearray": bytearray(content), "BytesIO": io.BytesIO(content)}
        for _ in range(2):  # more than once
            found = grey_of(given.get(form, file))
            np.testing.assert_allclose(found.pixels[0], GREY / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (None, "image is None, no image. cv2.imread returns None"),
        ("https://example.org/a.jpg", "is an address; download it"),
        (b"none", "image: what was given is not an image that Pillow can read"),
        (io.StringIO("none"), "opened as text; open it as bytes, in mode 'rb'"),
    ],
)
def test_what_is_no_image_is_named(image, words):
    with pytest.raises(ValueError, match=words):
        grey_of(image)


def test_the_way_round_the_limit_of_pillow_is_named(monkeypatch, tmp_path):
    Image.fromarray(GREY).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(ValueError, match=r"large.png is larger than.*--max-pixels"):
        grey_of(tmp_path / "large.png")


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize(("low", "part"), [(0, 4095), (7000, 3000), (30000, 400)])
def test_sixteen_bits_that_use_a_small_part_of_their_range_are_stretched(tmp_path, kind, low, part):
    deep = (low + GREY / 247 * part).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / f"deep.{kind}")
    with pytest.warns(ImageWarning, match="16 bits uses a small part of its range"):
        found = grey_of(tmp_path / f"deep.{kind}")
    np.testing.assert_allclose(found.pixels[0], GREY / 247, atol=1.5 / part)


def test_a_few_hot_pixels_do_not_hide_a_small_range(rng):
    deep = (1000 + 500 * rng.random((60, 80))).astype(np.uint16)
    deep[10, [3, 40]] = 65535
    with pytest.warns(ImageWarning, match="small part"):
        found = grey_of(Image.fromarray(deep), resize=80).pixels[0]
    assert found.std() > 0.25  # even in [0, 1]: 0.29


@pytest.mark.parametrize("span", [0, 20, 40000])
def test_a_flat_image_and_one_of_the_full_range_stay_as_they_are(span):
    deep = (2000 + GREY / 247 * span).astype(np.uint16)
    found = grey_of(Image.fromarray(deep)).pixels[0]
    np.testing.assert_allclose(found, deep / 65535, atol=1e-6)


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize("full", [4095, 65535])
def test_sixteen_bits_of_colour_that_pillow_cuts_to_nothing_are_named(tmp_path, kind, full):
    deep = np.repeat((GREY / 247 * full).astype(np.uint16)[..., None], 3, axis=-1)
    path = tmp_path / f"deep.{kind}"
    cv2.imwrite(str(path), deep)
    if full == 65535:
        np.testing.assert_allclose(grey_of(path).pixels[0], GREY / 247, atol=0.01)
    else:
        with pytest.warns(ImageWarning, match=r"16 bits a colour.*Make it grey of 16 bits"):
            grey_of(path)
