"""Tiles or lists, chosen while a program runs: by the number of active tiles, once for a batch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import SHAPES, random_features, random_spots
from references import as_lists, assert_close, dense_reference, seen_by_spots

from pallas_kernels.sparse_attention import Spots, choice
from pallas_kernels.sparse_attention.differentiable import differentiable
from pallas_kernels.sparse_attention.pallas_lists import lists_backward, lists_forward
from pallas_kernels.sparse_attention.pallas_tiles import tiles_backward, tiles_forward

GRID0, GRID1 = (8, 8), (24, 24)  # one tile of queries, nine tiles of keys


def spots_of(centres):
    return Spots(
        jnp.asarray(centres, jnp.int32)[:, None],
        jnp.ones(64, bool),
        jnp.ones(24 * 24, bool),
        GRID0,
        GRID1,
        window=1,
    )


GATHERED = spots_of(np.zeros(64))  # one active tile
SCATTERED = spots_of(np.arange(64) * 9)  # all nine
BOTH = jax.tree.map(lambda *x: jnp.stack(x), GATHERED, SCATTERED)  # five on average


@pytest.fixture
def toys(monkeypatch):
    """toys(most) -> what chooses between x + 1 (tiles) and x + 2 (lists), and notes what ran."""

    def make(most):
        monkeypatch.setattr(choice, "MOST_TILES", most)
        ran = []

        def tiles(x, spots):
            jax.debug.callback(lambda _: ran.append("tiles"), spots.centres)
            return x + 1

        def lists(x, lists):
            jax.debug.callback(lambda _: ran.append("lists"), lists.cells)
            return x + 2

        return choice.tiles_or_lists(tiles, lists), ran

    return make


def branches(ran):
    jax.effects_barrier()
    return set(ran)


def test_active_tiles_are_counted_on_average():
    assert choice.mean_active_tiles(GATHERED) == 1
    assert choice.mean_active_tiles(SCATTERED) == 9
    hidden = dataclasses.replace(SCATTERED, valid0=jnp.arange(64) < 1)
    assert choice.mean_active_tiles(hidden) == 1


@pytest.mark.parametrize(("most", "expected"), [(9, "tiles"), (8, "lists")])
def test_few_active_tiles_take_tiles_and_many_take_lists(toys, most, expected):
    run, ran = toys(most)
    assert jax.jit(run)(jnp.float32(0), SCATTERED) == {"tiles": 1, "lists": 2}[expected]
    assert branches(ran) == {expected}


@pytest.mark.parametrize(("most", "expected"), [(5, "tiles"), (4.9, "lists")])
@pytest.mark.parametrize("depth", [1, 2])
def test_a_batch_decides_once_by_its_mean(toys, most, expected, depth):
    run, ran = toys(most)
    spots, x = BOTH, jnp.arange(2.0)
    for _ in range(depth - 1):
        run = jax.vmap(run)
        spots, x = jax.tree.map(lambda a: jnp.stack([a] * 3), (spots, x))
    out = jax.jit(jax.vmap(run))(x, spots)
    np.testing.assert_array_equal(out, x + {"tiles": 1, "lists": 2}[expected])
    assert branches(ran) == {expected}


@pytest.mark.parametrize("axes", [(0, None), (None, 0)])
def test_a_batch_may_share_its_spots_or_its_arrays(toys, axes):
    run, ran = toys(9)
    x = jnp.arange(2.0) if axes[0] == 0 else jnp.float32(3)
    out = jax.vmap(run, in_axes=axes)(x, BOTH if axes[1] == 0 else SCATTERED)
    np.testing.assert_array_equal(out, jnp.broadcast_to(x, 2) + 1)
    assert branches(ran) == {"tiles"}


def test_where_lists_are_chosen_the_kernels_agree_with_the_dense_reference(monkeypatch):
    monkeypatch.setattr(choice, "MOST_TILES", 0)
    attend = differentiable(
        choice.tiles_or_lists(tiles_forward, lists_forward),
        choice.tiles_or_lists(tiles_backward, lists_backward),
    )
    spots, (q, k, v, g) = random_spots(SHAPES[0], 0), random_features(SHAPES[0], 0)

    @jax.jit
    def both(q, k, v):
        out, pull = jax.vjp(lambda *x: attend(*x, spots), q, k, v)
        return out, pull(g)

    assert_close(both(q, k, v), dense_reference(q, k, v, as_lists(seen_by_spots(spots)), g))
