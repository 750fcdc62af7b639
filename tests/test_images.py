"""Images: every form shows the same picture, and what a mask hides takes no part."""

import numpy as np
import pytest
from PIL import Image

from astr_jax.images import prepare, to_rgb

GREY = np.add.outer(np.arange(12) * 17, np.arange(16) * 4).astype(np.uint8)  # 0 to 247


def grey_of(image, mask=None, resize=64):
    return prepare(image, mask, resize=resize, name="image")


def levels(mode):
    """GREY in one of Pillow's modes."""
    wide = GREY.astype(np.uint16) * 257  # 0 to 65535
    if mode == "F":
        return Image.fromarray(GREY.astype(np.float32) / 255)
    if mode == "I;16":
        return Image.fromarray(wide)
    if mode == "I;16B":
        return Image.frombytes(mode, GREY.shape[::-1], wide.astype(">u2").tobytes())
    if mode == "I":
        return Image.fromarray(wide.astype(np.int32))
    return Image.fromarray(GREY).convert(mode)


@pytest.mark.parametrize(
    "mode",
    ["L", "F", "I", "I;16", "I;16B", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "HSV"],
)
def test_every_mode_of_pillow_gives_the_same_picture(mode):
    image = levels(mode)
    assert image.mode == mode
    np.testing.assert_allclose(grey_of(image).pixels[0], GREY / 255, atol=1e-6)
    drawn = to_rgb(image)
    assert (drawn.shape, drawn.dtype) == ((*GREY.shape, 3), np.uint8)
    np.testing.assert_array_equal(drawn, np.repeat(GREY[..., None], 3, axis=-1))


def test_one_bit_is_black_and_white():
    image = Image.fromarray(GREY > 100)
    assert image.mode == "1"
    np.testing.assert_array_equal(grey_of(image).pixels[0], GREY > 100)
    np.testing.assert_array_equal(to_rgb(image)[..., 0], np.where(GREY > 100, 255, 0))


def test_colours_survive_a_palette_and_transparency():
    colours = np.random.default_rng(0).integers(0, 4, (12, 16, 3), np.uint8) * 85
    image = Image.fromarray(colours)
    expected = np.asarray(image.convert("L")) / 255
    see_through = image.copy()
    see_through.putalpha(7)
    for form in (image.convert("P", palette=Image.Palette.ADAPTIVE), see_through):
        np.testing.assert_array_equal(to_rgb(form), colours)
        np.testing.assert_allclose(grey_of(form).pixels[0], expected, atol=1e-6)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_files_of_sixteen_bits_are_read_whole(tmp_path, suffix):
    levels("I;16").save(tmp_path / f"deep.{suffix}")
    np.testing.assert_allclose(grey_of(tmp_path / f"deep.{suffix}").pixels[0], GREY / 255, 1e-6)


@pytest.mark.parametrize("form", ["float", "channel", "float colour"])
def test_arrays_are_drawn_as_they_are_matched(form):
    array = {
        "float": GREY / 255,
        "channel": GREY[..., None],
        "float colour": np.stack([GREY] * 3, axis=-1) / 255,
    }[form]
    np.testing.assert_array_equal(to_rgb(array)[..., 1], GREY)
    np.testing.assert_allclose(grey_of(array).pixels[0], GREY / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (Image.fromarray(GREY.astype(np.float32)), r"mode F\) is float and spans \[0, 247\].*255"),
        (Image.fromarray(GREY * np.float32(99)), r"must lie in \[0, 1\]. Scale it to this"),
        (Image.fromarray(np.full((4, 4), np.nan, np.float32)), r"mode F\) holds NaN"),
        (Image.fromarray(np.full((4, 4), -1, np.int32)), r"mode I and spans \[-1, -1\].*65535"),
        (Image.fromarray(np.full((4, 4), 70000, np.int32)), "spans .70000, 70000.*Scale it"),
        (Image.new("L", (0, 4)), "is empty"),
        (GREY.astype(np.uint16), "got uint16. Divide integers by their full scale"),
    ],
)
@pytest.mark.parametrize("read", [grey_of, to_rgb])
def test_what_has_no_known_range_is_refused(read, image, words):
    with pytest.raises(ValueError, match=words):
        read(image)


def test_a_batch_is_not_drawn():
    with pytest.raises(ValueError, match=r"one image \[H W\] or.*got \(2, 12, 16, 3\)"):
        to_rgb(np.zeros((2, 12, 16, 3), np.uint8))


@pytest.mark.parametrize("resize", [16, 7, 5, 64])
def test_what_a_mask_hides_reaches_no_pixel(rng, resize):
    image, garbage = rng.random((12, 16)), rng.random((12, 16))
    mask = rng.random((12, 16)) < 0.5
    expected = grey_of(image, mask, resize)
    changed = grey_of(np.where(mask, image, garbage), mask, resize)
    np.testing.assert_array_equal(changed.pixels, expected.pixels)
    np.testing.assert_array_equal(changed.mask, expected.mask)
    assert 0 < expected.mask.mean() < 1
    assert (expected.pixels[~expected.mask] == 0).all()


@pytest.mark.parametrize("resize", [7, 16])
def test_the_border_of_a_mask_does_not_darken_an_even_image(rng, resize):
    mask = rng.random((12, 16)) < 0.6
    image = np.where(mask, 0.7, rng.random((12, 16)))
    found = grey_of(image, mask, resize)
    np.testing.assert_allclose(found.pixels[found.mask], 0.7, atol=1e-6)


def test_a_mask_without_a_hole_changes_nothing(rng):
    image = rng.random((12, 16))
    np.testing.assert_array_equal(
        grey_of(image, np.ones((12, 16), bool), 7).pixels, grey_of(image, None, 7).pixels
    )


def test_every_image_of_a_batch_has_its_own_mask(rng):
    images, masks = rng.random((2, 12, 16)), rng.random((2, 12, 16)) < 0.5
    together = grey_of(images, masks, 7)
    for k in range(2):
        alone = grey_of(images[k], masks[k], 7)
        np.testing.assert_array_equal(together.pixels[k], alone.pixels[0])
        np.testing.assert_array_equal(together.mask[k], alone.mask[0])


COLOUR = np.random.default_rng(1).integers(0, 256, (12, 16, 3), np.uint8)


@pytest.mark.parametrize("scale", [1, 255])
def test_alpha_in_an_array_is_left_out_as_in_an_image_of_pillow(scale):
    alpha = np.random.default_rng(2).integers(0, 256, (12, 16, 1), np.uint8)
    for plain, mode in ((GREY[..., None], "LA"), (COLOUR, "RGBA")):
        array = np.concatenate([plain, alpha], axis=-1)
        expected = grey_of(Image.fromarray(array, mode)).pixels[0]
        given = array if scale == 1 else array / scale
        found = grey_of(given)
        assert not found.batched
        np.testing.assert_allclose(found.pixels, expected[None], atol=2e-3)
        batch = grey_of(np.stack([given, given[::-1]]))
        assert batch.batched
        np.testing.assert_allclose(batch.pixels, [expected, expected[::-1]], atol=2e-3)
        np.testing.assert_array_equal(to_rgb(given), np.broadcast_to(plain, (12, 16, 3)))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (
            (3, 12, 16),
            r"try image.transpose\(1, 2, 0\).*A batch of 3 grey",
        ),
        ((4, 480, 640), r"Channels come last: try image.transpose\(1, 2, 0\)"),
        ((1, 48, 64), r"Channels come last"),
        ((2, 4, 48, 64), r"try image.transpose\(0, 2, 3, 1\)"),
        ((2, 7, 48, 64), r"must be \[H W\], or"),
        ((48, 64, 6), "48 images of 6 x 64 pixels. Choose at most four channels"),
        ((480, 640, 31), "480 images of 31 x 640 pixels"),
        ((48, 5, 64), "48 images of 64 x 5 pixels"),
        ((), "must be"),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_axes_that_cannot_be_told_apart_are_refused_with_the_way_to_say_it(shape, words, dtype):
    with pytest.raises(ValueError, match=words):
        grey_of(np.zeros(shape, dtype))


@pytest.mark.parametrize("shape", [(2, 12, 16), (7, 12, 16), (4, 12, 16, 1), (3, 5, 6, 3)])
def test_a_batch_is_a_batch(shape):
    assert grey_of(np.zeros(shape)).pixels.shape[0] == shape[0]
