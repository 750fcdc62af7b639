"""Who looks where: what a door asks of an index, whatever rule it is made by.

`Lists`, `Pairs`, `Spots`, `Spans` and `Both` are such. One of your own needs no more than this.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Int

from pallas_kernels.arrays import Array
from pallas_kernels.sparse_attention.pairs import Lists, Pairs


@runtime_checkable
class Index(Protocol):
    """Which keys each query sees, of one problem: a pytree of arrays, so that vmap adds a batch."""

    def ready(self, num_queries: int, num_keys: int, checked: bool) -> "Index":
        """The index as kernels take it. Raises ValueError where its shapes do not fit, and outside
        of jit where its values do not; with `checked`, inside of jit by checkify."""

    def pairs(self) -> Pairs:
        """Every pair (query, key) once, with its weight where the rule has weights."""

    def holds(self, query: Int[Array, " p"], key: Int[Array, " p"]) -> Bool[Array, " p"]:
        """Whether each query sees each key. Negative indices mean nothing."""


@runtime_checkable
class PaddedIndex(Index, Protocol):
    """An index that knows how many keys a query sees at most. It runs by every implementation."""

    def lists(self) -> Lists:
        """The keys of every query as rows of one length, with their weights where it has some."""
