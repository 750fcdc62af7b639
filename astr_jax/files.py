"""Files: written whole or not at all, found in a folder; and the settings of a folder."""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Mapping


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


def files_below(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """All files below a folder. Links to folders are followed, each folder is entered once."""
    seen = set()
    for place, inner, names in os.walk(folder, followlinks=True):
        state = os.stat(place)
        if (state.st_dev, state.st_ino) in seen:
            inner.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        inner.sort()
        yield from (pathlib.Path(place, name) for name in names)


def check_settings(begun: Mapping, now: Mapping, place: str | os.PathLike) -> None:
    """Raises ValueError where a place was begun with other settings than those of now, both as
    JSON has them."""
    other = sorted(key for key in {*begun, *now} if begun.get(key) != now.get(key))
    if other:
        raise ValueError(
            f"{place} was begun with other settings: {', '.join(other)} differ. Give the same "
            "again, or another folder."
        )
