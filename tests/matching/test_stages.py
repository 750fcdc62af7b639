"""The stages of a match: what is left out, and what chunks change."""

import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.matching.stages import FINE_AT_ONCE, _in_chunks


def test_the_fine_stage_leaves_out_the_steps_without_a_valid_match():
    k = 4 * FINE_AT_ONCE
    valid = jnp.arange(k)[None] <= FINE_AT_ONCE
    found = _in_chunks(lambda ratio: ratio + 1, valid, jnp.zeros((1, k)))
    np.testing.assert_array_equal(found[0], np.arange(k) < 2 * FINE_AT_ONCE)


@pytest.mark.parametrize("k", [1, 100, FINE_AT_ONCE, 2 * FINE_AT_ONCE + 7])
def test_chunks_keep_every_match_in_its_place(k):
    number = jnp.arange(2 * k, dtype=jnp.float32).reshape(2, k)
    points = jnp.stack([number, -number], axis=-1)
    found = _in_chunks(lambda *rows: rows, jnp.ones((2, k), bool), points, number)
    np.testing.assert_array_equal(found[0], points)
    np.testing.assert_array_equal(found[1], number)
