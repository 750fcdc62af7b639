"""Any array, any file and any mask, before the network."""

import contextlib
import io
import warnings

import numpy as np
import pytest
from damage import spoiled_bytes
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from verdicts import ask, assert_finite, examples

from astr_jax.images import ALPHAS, prepare, read_pixels, to_rgb

TYPES = ("uint8", "float32", "float64", "float16", "int32", "uint16", "bool", "complex64", "object")
COMMON = st.sampled_from(("uint8", "float32"))
FILLS = ("negative", "nan", "infinity", "zeros", "huge")
SIDES = st.sampled_from((0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 65, 200))
CHANNELS = st.sampled_from((0, 1, 2, 3, 4, 5, 8))
MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB")
MODES = (*MODES, "HSV", "I", "F", "I;16", "I;16B")
SUFFIXES = ("png", "jpg", "tif", "bmp", "gif", "ppm", "webp", "tga", "ico", "pcx", "jp2", "dds")
SUFFIXES = (*SUFFIXES, "sgi", "im", "spi", "msp", "icns", "avif", "pdf", "eps")
NOT_IMAGES = (None, 3, "é" * 300, "", b"", "no/such.png", "https://a.b/c.png", {}, object())
NOT_IMAGES = (*NOT_IMAGES, [], [[1, 2], [3]], "a\x00.png")


@st.composite
def arrays(draw):
    rank = draw(st.sampled_from((0, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5)))
    shape = tuple(draw(SIDES) for _ in range(rank))
    if rank > 2 and draw(st.integers(0, 2)):
        shape = (*shape[:-1], draw(CHANNELS))
    if np.prod(shape) > 500_000:
        shape = tuple(min(side, 20) for side in shape)
    kind = draw(COMMON | COMMON | COMMON | st.sampled_from(TYPES))
    whole = np.issubdtype(kind, np.integer)
    fill = draw(st.sampled_from(("good",) * 15 + FILLS))
    values = np.random.default_rng(draw(st.integers(0, 99))).random(shape) * (255 if whole else 1)
    values = np.asarray(values * {"negative": -1.0, "zeros": 0.0, "huge": 1e30}.get(fill, 1.0))
    if fill in ("nan", "infinity") and values.size:
        values.flat[draw(st.integers(0, values.size - 1))] = np.nan if fill == "nan" else np.inf
    with np.errstate(all="ignore"):
        array = values.astype(kind)
    forms = {0: array, 1: np.asfortranarray(array), 2: array[::-1] if array.ndim else array}
    return forms[draw(st.integers(0, 2))]


masks = st.sampled_from((None,) * 5 + ("fitting",) * 3 + NOT_IMAGES) | st.sampled_from(
    (None, "fitting")
)
masks |= arrays()
resizes = st.sampled_from((64, 65, 640))
alphas = st.sampled_from(ALPHAS)


def check_prepared(prepared, resize):
    assert_finite(prepared.pixels)
    assert prepared.pixels.min() >= 0
    assert prepared.pixels.max() <= 1
    assert 0 < max(prepared.shape) <= max(resize, 1)
    assert prepared.mask.shape == prepared.pixels.shape
    assert not prepared.pixels[~prepared.mask].any()


@examples(40)
@given(
    image=arrays() | arrays() | arrays() | st.sampled_from(NOT_IMAGES),
    mask=masks,
    resize=resizes,
    alpha=alphas,
)
def test_any_array_is_an_image_or_is_refused_by_its_name(image, mask, resize, alpha):
    if isinstance(mask, str) and mask == "fitting":
        shape = np.shape(image)[:2] if isinstance(image, np.ndarray) else ()
        mask = np.arange(np.prod(shape, dtype=int)).reshape(shape) % 3 > 0

    def door():
        return prepare(image, mask, resize=resize, name="img0", alpha=alpha)

    prepared = ask("arrays", door, "img0")
    if prepared is not None:
        check_prepared(prepared, resize)
        assert_finite(read_pixels(image, "img0"))


@st.composite
def files(draw):
    """What a writer of Pillow makes of an image, maybe spoiled; None where it makes nothing."""
    size = tuple(draw(st.sampled_from((1, 2, 9, 40, 130))) for _ in range(2))
    mode, suffix = draw(st.sampled_from(MODES)), draw(st.sampled_from(SUFFIXES))
    values = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 256, (*size, 3), np.uint8)
    image = plain = Image.fromarray(values)
    steps = ("L", "I", mode) if mode[0] == "I" else ("RGBA", mode) if mode[-1] == "a" else (mode,)
    with contextlib.suppress(ValueError):
        for step in steps:
            image = image.convert(step)
    options = {}
    if draw(st.booleans()):
        exif = Image.Exif()
        exif[0x0112] = draw(st.integers(0, 9))
        options["exif"] = exif
    if draw(st.booleans()):
        options |= {"save_all": True, "append_images": [image.resize((150, 150))]}
    written = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image.save(written, Image.registered_extensions()[f".{suffix}"], **options)
        except Exception:
            written = io.BytesIO()
            plain.save(written, "PNG")
    return draw(spoiled_bytes(written.getvalue()))


@examples(45)
@given(
    content=files(),
    name=st.sampled_from(("a.png", "b.tif", "c.jpg", "d.txt", "é", "f.webp")),
    form=st.sampled_from(("path", "text", "bytes", "open")),
    mask=st.sampled_from(("none", "itself", "none")),
    resize=resizes,
    alpha=alphas,
)
def test_any_file_is_an_image_or_is_refused_by_its_name(
    tmp_path, content, name, form, mask, resize, alpha
):
    path = tmp_path / name
    path.write_bytes(content)
    source = {"path": path, "text": str(path), "bytes": content, "open": io.BytesIO(content)}[form]

    def door():
        own = source if mask == "itself" else None
        return prepare(source, own, resize=resize, name="img0", alpha=alpha)

    prepared = ask("files", door, "img0")
    if prepared is not None:
        check_prepared(prepared, resize)
    drawn = ask("files drawn", lambda: to_rgb(source, "img0"), "img0")
    assert drawn is None or (drawn.dtype == np.uint8 and drawn.shape[-1] == 3)


@pytest.mark.parametrize("image", ["", b"", b"no image"])
def test_an_empty_name_or_content_is_named(image):
    with pytest.raises((ValueError, FileNotFoundError), match="img0"):
        prepare(image, None, resize=64, name="img0")
