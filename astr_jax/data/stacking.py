"""Pairs as tuples of named arrays, put together into a batch."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


def stacked(pairs: Iterable[NamedTuple]) -> dict[str, np.ndarray]:
    """The fields of at least one tuple of a kind, each with a leading axis of pairs, [b ...]."""
    pairs = list(pairs)
    columns = zip(*pairs, strict=True)
    return {name: np.stack(values) for name, values in zip(pairs[0]._fields, columns, strict=True)}
