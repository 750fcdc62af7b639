"""The stages of a match: what is left out, and what chunks change."""

import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.matching.stages import FINE_AT_ONCE, _in_chunks
from astr_jax.types import CoarseMatches, FineMatches


def test_the_fine_stage_leaves_out_the_steps_without_a_valid_match():
    k = 4 * FINE_AT_ONCE
    cells = np.zeros((1, k), np.int32)
    matches = CoarseMatches(cells, cells, np.ones((1, k)), np.arange(k)[None] <= FINE_AT_ONCE)

    def refine(matches, ratio):
        twos, ones = jnp.ones((*ratio.shape, 2)), jnp.ones(ratio.shape)
        return FineMatches(*(twos,) * 4, ones, ones, matches.valid)

    found = _in_chunks(refine, matches, jnp.ones((1, k)))
    np.testing.assert_array_equal(found.sigma[0], np.arange(k) < 2 * FINE_AT_ONCE)
    np.testing.assert_array_equal(found.valid, matches.valid)


@pytest.mark.parametrize("k", [1, 100, FINE_AT_ONCE, 2 * FINE_AT_ONCE + 7])
def test_chunks_keep_every_match_in_its_place(k):
    cells = np.arange(2 * k, dtype=np.int32).reshape(2, k)
    matches = CoarseMatches(cells, cells, np.ones((2, k)), np.ones((2, k), bool))

    def refine(matches, ratio):
        pair = jnp.stack([matches.cell0, matches.cell1], axis=-1).astype(jnp.float32)
        return FineMatches(*(pair,) * 4, ratio, ratio, matches.valid)

    found = _in_chunks(refine, matches, jnp.asarray(cells, jnp.float32) + 0.5)
    np.testing.assert_array_equal(found.points0[..., 0], cells)
    np.testing.assert_array_equal(found.sigma, cells + 0.5)
    assert found.valid.all()
