"""What the commands read and write, checked before the work begins."""

import contextlib
import io
import json
import os
import pathlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure

from astr_jax.files import replacing

PIXELS = ("bmp", "jpeg", "jpg", "png", "tif", "tiff", "webp")
PICTURES = ("jpeg", "jpg", "pdf", "png", "svg", "tif", "tiff", "webp")


def check_output(
    path: str | os.PathLike | None, kinds: tuple[str, ...] = ()
) -> pathlib.Path | None:
    """Where a file is to go; None for None. kinds: the endings that it may have; (): any.

    Raises ValueError for a file that cannot be written: better now than after the work.
    """
    if path is None:
        return None
    path = pathlib.Path(path)
    if kinds and path.suffix[1:].lower() not in kinds:
        raise ValueError(f"{path} must end in .{', .'.join(kinds)}; got {path.suffix!r}.")
    if not path.resolve().parent.is_dir():
        raise ValueError(f"{path} cannot be written: there is no folder {path.parent}.")
    if path.is_dir():
        raise ValueError(f"{path} cannot be written: it is a folder; give a file in it.")
    return path


@contextlib.contextmanager
def files_first(words: str) -> Iterator[None]:
    """Prints these words, then what the block has printed, once the block has written its files:
    a stdout that is closed or full loses none of them."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            yield
    finally:
        print(words, said.getvalue(), sep="\n", end="", flush=True)


def mask_of(place: str | None, image: str) -> pathlib.Path | None:
    """The mask of an image: the file itself, or that of a folder which has the image's name, with
    any ending in place of its own or behind it. Raises FileNotFoundError."""
    if place is None:
        return None
    path, name = pathlib.Path(place), pathlib.Path(image)
    if not path.is_dir():
        return path
    found = sorted(
        file
        for file in path.iterdir()
        if file.suffix[1:].lower() in PIXELS and (file.stem in (name.stem, name.name))
    )
    if not found:
        raise FileNotFoundError(
            f"there is no mask of {name.name} in {path}, such as {name.stem}.png."
        )
    return found[0]


def save_figure(figure: Figure, path: str) -> None:
    """Writes a picture and says so."""
    with replacing(path) as beside:
        figure.savefig(beside, facecolor=figure.get_facecolor())
    print(f"wrote {path}")


def save_pixels(pixels: UInt8[np.ndarray, "h w 3"], path: str) -> None:
    """Writes a picture of blue, green and red; the ending says how."""
    import cv2

    done, encoded = cv2.imencode(pathlib.Path(path).suffix, pixels)
    if not done:
        raise OSError(f"{path} cannot be written.")
    with replacing(path) as beside:
        beside.write_bytes(encoded.tobytes())


def check_marks(path: pathlib.Path, name: str) -> tuple[str, str]:
    """What a Markdown file has before <!-- NAME --> and after <!-- end of NAME -->.

    Raises ValueError where the marks are not there.
    """
    begin, end = _marks(name)
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{path} has no place for the tables: write {begin} and {end} there.")
    return before, after


def write_between(path: pathlib.Path, name: str, text: str) -> None:
    """Replaces what a Markdown file has between <!-- NAME --> and <!-- end of NAME -->."""
    (before, after), (begin, end) = check_marks(path, name), _marks(name)
    with replacing(path) as beside:
        beside.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", encoding="utf-8")


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- {name} -->", f"<!-- end of {name} -->"


def read_intrinsics(values: list[str] | None) -> tuple:
    """(K0, K1) from one or two of "fx,fy,cx,cy", or files; (None, None) without.

    A JSON file holds a 3 x 3 list, or {"K0": ..., "K1": ...}. One value serves both images.
    """
    if not values:
        return None, None
    if len(values) > 2:
        raise ValueError(f"--intrinsics takes one value or two; got {len(values)}.")
    found = [_read_one(value) for value in values]
    if any(isinstance(k, tuple) for k in found):
        if len(found) > 1:
            raise ValueError("--intrinsics takes one file with K0 and K1, and nothing beside it.")
        return found[0]
    return found[0], found[-1]


def _read_one(value: str) -> Float[np.ndarray, "3 3"] | tuple:
    if value.endswith(".json"):
        path = pathlib.Path(value)
        if not path.is_file():
            raise FileNotFoundError(f"--intrinsics: there is no file {path}.")
        try:
            held = json.loads(path.read_text())
            if isinstance(held, dict):
                return _matrix(held["K0"], value), _matrix(held["K1"], value)
            return _matrix(held, value)
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError):
            raise ValueError(
                f'--intrinsics: {path} must hold JSON, a 3 x 3 list or {{"K0": ..., "K1": ...}}.'
            ) from None
    try:
        fx, fy, cx, cy = (float(part) for part in value.split(","))
    except ValueError:
        raise ValueError(
            f"--intrinsics takes fx,fy,cx,cy in pixels, or a .json file; got {value!r}."
        ) from None
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


def _matrix(values, name: str) -> Float[np.ndarray, "3 3"]:
    try:
        matrix = np.asarray(values, float)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.shape != (3, 3):
        raise ValueError(f"--intrinsics: {name} must hold 3 x 3 numbers.")
    return matrix


def read_point(text: str) -> tuple[float, float]:
    """(x, y) from "x,y"."""
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"a point is x,y in pixels, such as 320,240; got {text!r}.") from None
    if not np.isfinite([x, y]).all():
        raise ValueError(f"a point must be finite; got {text!r}.")
    return x, y
