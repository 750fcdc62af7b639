"""Files that are missing or damaged: named, counted, and skipped only on request."""

import contextlib
import os
from collections.abc import Iterator


class UnreadableFile(ValueError):
    """A file of a data set that is missing or damaged."""

    def __init__(self, path: str | os.PathLike, reason: str):
        super().__init__(f"{path}: {reason}.")
        self.path, self.reason = str(path), reason


class BadFiles(dict[str, str]):
    """The files that were skipped, each with its reason."""

    def __init__(self, *, skip: bool):
        super().__init__()
        self.skip = skip

    @contextlib.contextmanager
    def skipped(self) -> Iterator[None]:
        """Notes an UnreadableFile of the block and goes on behind it; without `skip`, raises it."""
        try:
            yield
        except UnreadableFile as error:
            if not self.skip:
                raise
            self[error.path] = error.reason

    def report(self, most: int | None = None) -> str:
        """The files, counted and named, one a line; most: so many of them."""
        lines = [f"{path}: {reason}" for path, reason in sorted(self.items())]
        more = len(lines) - len(lines[:most])
        rest = [f"and {more} more"] if more else []
        return "\n".join([f"unreadable files: {len(lines)}", *lines[:most], *rest])
