"""What the exports share: the files that they leave, and none after an error."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

from astr_jax.export.agreement import Agreement

WHOLE = "match"  # the program of the whole match


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written, and how it compares with JAX."""

    files: tuple[pathlib.Path, ...]
    agreement: Agreement


def check_implementation(name: str, known: Sequence[str]) -> None:
    """Raises ValueError for sparse attention by another implementation than those known."""
    if name not in known:
        raise ValueError(f"implementation must be one of {', '.join(known)}; got {name!r}.")


@contextlib.contextmanager
def removed_after_an_error(files: Sequence[pathlib.Path]) -> Iterator[None]:
    """After an error in the block, no file that it has put on the list is left."""
    try:
        yield
    except BaseException:
        for file in files:
            file.unlink(missing_ok=True)
        raise
