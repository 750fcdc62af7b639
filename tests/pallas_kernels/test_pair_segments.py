"""Segments: the partners of every row, from lists and from pairs in any order."""

import jax.numpy as jnp
import numpy as np
import pytest
from references import seen_by_lists

from pallas_kernels.sparse_attention import Lists
from pallas_kernels.sparse_attention.pairs import Pairs

NQ, NK, S = 13, 11, 4


@pytest.fixture
def cells(rng):
    """Lists with empty slots, an empty row, and a key that nobody lists."""
    cells = np.stack([rng.permutation(NK - 1)[:S] for _ in range(NQ)]).astype(np.int32)
    cells[rng.random(cells.shape) < 0.3] = -1
    cells[5] = -1
    return cells


def as_pairs(cells, rng):
    """The same pairs in a random order, padding among them."""
    m_q = np.where(cells >= 0, np.arange(NQ)[:, None], -1).ravel()
    order = rng.permutation(m_q.size)
    return Pairs(jnp.asarray(m_q[order]), jnp.asarray(cells.ravel()[order]), NQ, NK)


def partners_of(segments, row):
    """Those that are somebody."""
    first, end = segments.first[row], segments.first[row + 1]
    partner = np.asarray(segments.partner[first:end])
    return sorted(partner[partner >= 0].tolist())


@pytest.mark.parametrize("form", ["lists", "pairs"])
def test_segments_hold_the_keys_of_each_query_and_the_queries_of_each_key(cells, rng, form):
    pairs = Lists(jnp.asarray(cells), NK) if form == "lists" else as_pairs(cells, rng)
    seen = seen_by_lists(cells, NK)
    by_query, by_key = pairs.by_query(), pairs.by_key()
    assert by_query.first.shape == (NQ + 1,)
    assert by_key.first.shape == (NK + 1,)
    for query in range(NQ):
        assert partners_of(by_query, query) == np.flatnonzero(seen[query]).tolist()
    for key in range(NK):
        assert partners_of(by_key, key) == np.flatnonzero(seen[:, key]).tolist()


def test_pairs_of_one_row_keep_their_order():
    pairs = Pairs(jnp.array([2, 0, 2, -1, 2]), jnp.array([7, 1, 3, -1, 5]), 3, 8)
    segments = pairs.by_query()
    np.testing.assert_array_equal(segments.first, [0, 1, 1, 4])
    np.testing.assert_array_equal(segments.partner, [1, 7, 3, 5, -1])


def test_a_list_holds_its_keys_alone(cells):
    query, key = np.divmod(np.arange(NQ * NK), NK)
    held = Lists(jnp.asarray(cells), NK).holds(jnp.asarray(query), jnp.asarray(key))
    np.testing.assert_array_equal(held.reshape(NQ, NK), seen_by_lists(cells, NK))
