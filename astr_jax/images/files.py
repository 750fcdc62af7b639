"""Image files, in every form that people hold them, opened at their largest page."""

import contextlib
import io
import os
import pathlib
import re
import struct
import zlib
from collections.abc import Iterator

from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from astr_jax.images.notices import notice

ORIENTATION, UPRIGHT = 0x0112, 1  # the EXIF tag, and its value for a picture that lies upright
WIDTH, HEIGHT, SUB_DIRECTORIES = 256, 257, 330  # tags of TIFF
HALF = 128  # of 256 levels
MOST_PAGES = 1000  # that are looked at
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
# What Pillow and its decoders raise for damaged files.
DAMAGE = (
    *(OSError, SyntaxError, ValueError, LookupError, TypeError, AttributeError, EOFError),
    *(RuntimeError, ArithmeticError, MemoryError, struct.error, zlib.error),
)
UNREADABLE = (*DAMAGE, Image.DecompressionBombError)  # what opening a damaged picture may raise


def is_file(image) -> bool:
    """Whether something is a path, the bytes of a file, or an open file."""
    return isinstance(image, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(
        image, "read"
    )


def read_image(source, name: str = "image") -> Image.Image:
    """Reads an image file, upright by its EXIF tag; of several pages (TIFF, DNG) the largest.

    source: a path, the bytes of a file, or an open one. Raises FileNotFoundError or ValueError.
    """
    what = f"{name}: {_checked(source, name)}"
    try:
        with opened(source) as image:
            cut = image.mode in ("RGB", "RGBA") and ";16" in str(image.tile)
            upright = ImageOps.exif_transpose(image)
        if cut and max(high for _, high in upright.convert("RGB").getextrema()) < HALF:
            notice(
                f"{what} has 16 bits a colour, of which Pillow reads the upper 8, and they hold "
                "little. Make it grey of 16 bits, which are read whole."
            )
        return upright
    except UnidentifiedImageError:
        raise ValueError(f"{what} is not an image that Pillow can read.") from None
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{what} is larger than Pillow reads without being asked ({error}) Raise the limit: "
            "PIL.Image.MAX_IMAGE_PIXELS, or --max-pixels of a command."
        ) from None
    except DAMAGE as error:
        raise ValueError(f"{what} cannot be read as an image ({error}).") from None


@contextlib.contextmanager
def opened(source) -> Iterator[Image.Image]:
    """An image file as Pillow opens it, at its largest page. Raises what Pillow raises.

    Pillow maps a file that it is given by name, and then reads uncompressed TIFF that its tag turns
    by a quarter in rows of the wrong length. So it is given an open file.
    """
    with contextlib.ExitStack() as stack:
        if isinstance(source, str | os.PathLike):
            file = stack.enter_context(open(source, "rb"))
        else:
            file = io.BytesIO(_content(source))
        image = stack.enter_context(Image.open(file))
        if image.format == "TIFF":
            image = stack.enter_context(_largest_page(image, file))
        yield image


def _checked(source, name: str) -> str:
    """What errors call a file. Raises ValueError or FileNotFoundError where it can be none."""
    if not isinstance(source, str | os.PathLike):
        return "what was given"
    if isinstance(source, str) and URL.match(source):
        raise ValueError(f"{name}: {source} is an address; download it, and give the file.")
    path = pathlib.Path(source)
    try:
        there = path.is_file()
    except OSError as error:  # such as a name that is too long
        raise ValueError(f"{name}: {str(path)[:80]} is no path ({error.strerror}).") from None
    if not there:
        raise FileNotFoundError(f"{name}: there is no file {path}.")
    return str(path)


def _content(source) -> bytes:
    """All bytes of what is no path."""
    if not hasattr(source, "read"):
        return bytes(source)
    if source.seekable():
        source.seek(0)
    content = source.read()
    if isinstance(content, str):
        raise ValueError("it was opened as text; open it as bytes, in mode 'rb'")
    return content


def _largest_page(first: Image.Image, file) -> Image.Image:
    """The largest image of a TIFF that can be read: of the first ones may be a preview."""
    tags = first.tag_v2
    own = tags[WIDTH] * tags[HEIGHT]
    if not tags.next and SUB_DIRECTORIES not in tags:
        return first
    file.seek(0)
    content = file.read()
    file.seek(0)
    larger = [page for page in _directories(content) if page[1] * page[2] > own]
    larger.sort(key=lambda page: -page[1] * page[2])
    unread = ""
    for offset, width, height in larger:
        try:
            page = Image.open(io.BytesIO(_beginning_at(content, offset)))
            if ORIENTATION in tags and ORIENTATION not in page.tag_v2:
                page.getexif()[ORIENTATION] = tags[ORIENTATION]  # of the whole file, as in DNG
            _try_to_decode(content, offset)
        except DAMAGE:
            unread = unread or f" Its image of {width} x {height} cannot be read."
            continue
        notice(
            f"{_named(file)} begins with a smaller image; that of {width} x {height} is "
            f"read.{unread}"
        )
        return page
    if unread:
        notice(
            f"{_named(file)} is read at {tags[WIDTH]} x {tags[HEIGHT]}, as a preview.{unread} "
            "Convert it to PNG or plain TIFF."
        )
    return first


def _try_to_decode(content: bytes, offset: int) -> None:
    with Image.open(io.BytesIO(_beginning_at(content, offset))) as page:
        page.load()


def _named(file) -> str:
    return str(getattr(file, "name", "the image"))


def _directories(content: bytes) -> list[tuple[int, int, int]]:
    """(offset, width, height) of every image of a TIFF, those of sub-directories too."""
    found, seen = [], set()
    tags = ImageFileDirectory_v2(content[: 16 if _is_big(content) else 8])
    waiting, file = [tags.next], io.BytesIO(content)
    while waiting and len(seen) < MOST_PAGES:
        offset = waiting.pop(0)
        if not offset or offset in seen:
            continue
        seen.add(offset)
        try:
            file.seek(offset)
            tags.load(file)
            found.append((offset, int(tags[WIDTH]), int(tags[HEIGHT])))
        except DAMAGE:
            pass
        below = tags.get(SUB_DIRECTORIES, ())
        waiting += [tags.next, *(below if isinstance(below, tuple) else (below,))]
    return found


def _beginning_at(content: bytes, offset: int) -> bytes:
    """A TIFF whose first directory is the one at an offset."""
    order = "<" if content[:2] == b"II" else ">"
    if _is_big(content):
        return content[:8] + struct.pack(order + "Q", offset) + content[16:]
    return content[:4] + struct.pack(order + "L", offset) + content[8:]


def _is_big(content: bytes) -> bool:
    """Whether it is BigTIFF, with offsets of eight bytes."""
    return 43 in content[2:4]
