"""Whole files or none: write beside, then rename."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a path beside `path`, with its suffix, which takes its place when all went well.

    After an error the old file, if any, is as it was, and nothing is left beside it.
    """
    path = pathlib.Path(path)
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
