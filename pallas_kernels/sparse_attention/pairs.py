"""Who sees whom: pairs (query, key), given as padded lists or in any order, as kernels walk them.

A kernel walks the partners of a row: the keys of a query, or the queries of a key. `Segments`
holds them row after row.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int

from pallas_kernels.arrays import Array

NOTHING = -1e30  # the logarithm of zero, finite


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Segments:
    """The partners of row r are partner[first[r] : first[r + 1]]; -1 is nobody."""

    first: Int[Array, "*b ends"]
    partner: Int[Array, "*b l"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Lists:
    """A list of keys for every query, padded with -1."""

    cells: Int[Array, "*b nq s"]
    num_keys: int = dataclasses.field(metadata={"static": True})

    def lists(self) -> "Lists":
        return self

    def by_query(self) -> Segments:
        nq, s = self.cells.shape
        return Segments(jnp.arange(nq + 1, dtype=jnp.int32) * s, self.cells.reshape(-1))

    def by_key(self) -> Segments:
        """By one sort."""
        nq, s = self.cells.shape
        query = jnp.broadcast_to(jnp.arange(nq, dtype=jnp.int32)[:, None], (nq, s)).reshape(-1)
        return sorted_segments(self.cells.reshape(-1), query, self.num_keys)

    def holds(self, query: Int[Array, " p"], key: Int[Array, " p"]) -> Bool[Array, " p"]:
        """Whether each key stands in its query's list. Negative indices mean nothing."""
        return (self.cells[query] == key[:, None]).any(axis=1)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs in any order; -1 in both is padding."""

    m_q: Int[Array, "*b l"]
    m_k: Int[Array, "*b l"]
    num_queries: int = dataclasses.field(metadata={"static": True})
    num_keys: int = dataclasses.field(metadata={"static": True})

    def by_query(self) -> Segments:
        return sorted_segments(self.m_q, self.m_k, self.num_queries)

    def by_key(self) -> Segments:
        return sorted_segments(self.m_k, self.m_q, self.num_keys)


def sorted_segments(row: Int[Array, " l"], partner: Int[Array, " l"], num_rows: int) -> Segments:
    """Sorts pairs by row; those of row -1 come to stand behind the last segment."""
    row = jnp.where(row >= 0, row, num_rows).astype(jnp.int32)
    row, partner = jax.lax.sort((row, partner.astype(jnp.int32)), num_keys=1, is_stable=True)
    first = jnp.searchsorted(row, jnp.arange(num_rows + 1, dtype=jnp.int32))
    return Segments(first.astype(jnp.int32), partner)
