"""Who sees whom: pairs (query, key), given as padded lists or in any order, as kernels walk them.

A kernel walks the partners of a row: the keys of a query, or the queries of a key. `Segments`
holds them row after row.
"""

import dataclasses
from typing import no_type_check

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from pallas_kernels.arrays import Array
from pallas_kernels.sparse_attention import checks

NOTHING = -1e30  # the logarithm of zero, finite


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Segments:
    """The partners of row r are partner[first[r] : first[r + 1]]; -1 is nobody."""

    first: Int[Array, "*b ends"]
    partner: Int[Array, "*b l"]
    pair: Int[Array, "*b l"] | None = None  # the pair that stands in each place; None: as given

    def ordered(self, of_pairs: Float[Array, " l"]) -> Float[Array, " l"]:
        """One number a pair, in the order of the places."""
        return of_pairs if self.pair is None else of_pairs[self.pair]

    def as_given(self, of_places: Float[Array, " l"]) -> Float[Array, " l"]:
        """One number a place, in the order of the pairs; 0 for a pair that stands in no row."""
        if self.pair is None:
            return of_places
        inside = jnp.arange(len(of_places)) < self.first[-1]
        in_rows = jnp.where(inside, of_places, 0.0)
        return jnp.zeros_like(of_places).at[self.pair].set(in_rows, unique_indices=True)


@no_type_check  # ready() checks it, in words
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Lists:
    """A list of keys for every query, padded with -1, and maybe a weight for each."""

    cells: Int[Array, "*b nq s"]
    num_keys: int = dataclasses.field(metadata={"static": True})
    weights: Float[Array, "*b nq s"] | None = None  # not negative; None: all 1

    def ready(self, num_queries: int, num_keys: int, checked: bool) -> "Lists":
        checks.check_lists(self.cells, num_queries, num_keys, checked)
        checks.check_num_keys(self.num_keys, num_keys)
        if self.weights is not None:
            checks.check_weights(self.weights, self.cells.shape, checked)
        cells, weights = with_a_slot(self.cells, self.weights)
        return Lists(cells, num_keys, weights)

    def lists(self) -> "Lists":
        return self

    def pairs(self) -> "Pairs":
        nq, s = self.cells.shape
        query = jnp.broadcast_to(jnp.arange(nq, dtype=jnp.int32)[:, None], (nq, s)).reshape(-1)
        key = self.cells.reshape(-1)
        weights = None if self.weights is None else self.weights.reshape(-1)
        return Pairs(jnp.where(key >= 0, query, -1), key, nq, self.num_keys, weights)

    def by_query(self, *, numbered: bool = False) -> Segments:
        nq, s = self.cells.shape  # the slots stand as given: they need no numbers
        return Segments(jnp.arange(nq + 1, dtype=jnp.int32) * s, self.cells.reshape(-1))

    def by_key(self, *, numbered: bool = False) -> Segments:
        """By one sort."""
        nq, s = self.cells.shape
        query = jnp.broadcast_to(jnp.arange(nq, dtype=jnp.int32)[:, None], (nq, s)).reshape(-1)
        return sorted_segments(self.cells.reshape(-1), query, self.num_keys, numbered=numbered)

    def holds(self, query: Int[Array, " p"], key: Int[Array, " p"]) -> Bool[Array, " p"]:
        """Whether each key stands in its query's list. Negative indices mean nothing."""
        return (self.cells[query] == key[:, None]).any(axis=1)


@no_type_check  # ready() checks it, in words
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs in any order; -1 in both is padding. Each may have a weight."""

    m_q: Int[Array, "*b l"]
    m_k: Int[Array, "*b l"]
    num_queries: int = dataclasses.field(metadata={"static": True})
    num_keys: int = dataclasses.field(metadata={"static": True})
    weights: Float[Array, "*b l"] | None = None  # not negative; None: all 1

    def ready(self, num_queries: int, num_keys: int, checked: bool) -> "Pairs":
        checks.check_pair_lists(self.m_q, self.m_k, num_queries, num_keys, checked)
        checks.check_num_keys(self.num_keys, num_keys)
        if self.num_queries != num_queries:
            raise ValueError(
                f"num_queries must be that of the features, {num_queries}; got {self.num_queries}."
            )
        if self.weights is not None:
            checks.check_weights(self.weights, self.m_q.shape, checked)
        m_q, m_k = jnp.asarray(self.m_q, jnp.int32), jnp.asarray(self.m_k, jnp.int32)
        return Pairs(m_q, m_k, num_queries, num_keys, self.weights)

    def pairs(self) -> "Pairs":
        return self

    def by_query(self, *, numbered: bool = False) -> Segments:
        return sorted_segments(self.m_q, self.m_k, self.num_queries, numbered=numbered)

    def by_key(self, *, numbered: bool = False) -> Segments:
        return sorted_segments(self.m_k, self.m_q, self.num_keys, numbered=numbered)

    def holds(self, query: Int[Array, " p"], key: Int[Array, " p"]) -> Bool[Array, " p"]:
        """Whether each pair is among these: O((l + p) log l). Negative indices mean nothing."""
        m_q = jnp.where(self.m_q >= 0, self.m_q, self.num_queries)
        m_q, m_k = jax.lax.sort((m_q, self.m_k), num_keys=2)
        low = jnp.searchsorted(m_q, query, side="left")
        end = jnp.searchsorted(m_q, query, side="right")

        def halve(_, ends):
            low, high = ends  # the first of the query's keys that is not below the key lies within
            middle = (low + high) // 2
            below = (low < high) & (m_k[jnp.minimum(middle, len(m_k) - 1)] < key)
            return jnp.where(below, middle + 1, low), jnp.where(below, high, middle)

        low, _ = jax.lax.fori_loop(0, len(m_k).bit_length(), halve, (low, end))
        return (low < end) & (m_k[jnp.minimum(low, len(m_k) - 1)] == key)


def with_a_slot(cells, weights=None) -> tuple:
    """As int32, with an empty slot where there is none."""
    cells = jnp.asarray(cells, jnp.int32)
    if cells.shape[1]:
        return cells, weights
    weights = None if weights is None else jnp.ones((cells.shape[0], 1), weights.dtype)
    return jnp.full((cells.shape[0], 1), -1, jnp.int32), weights


def sorted_segments(
    row: Int[Array, " l"], partner: Int[Array, " l"], num_rows: int, *, numbered: bool = False
) -> Segments:
    """Sorts pairs by row; those of row -1 come to stand behind the last segment. numbered: say
    which pair stands where."""
    row = jnp.where(row >= 0, row, num_rows).astype(jnp.int32)
    columns = row, partner.astype(jnp.int32)
    if numbered:
        columns += (jnp.arange(len(row), dtype=jnp.int32),)
    row, partner, *pair = jax.lax.sort(columns, num_keys=1, is_stable=True)
    first = jnp.searchsorted(row, jnp.arange(num_rows + 1, dtype=jnp.int32))
    return Segments(first.astype(jnp.int32), partner, *pair)
