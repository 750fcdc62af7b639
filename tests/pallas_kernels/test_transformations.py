"""The Pallas kernels under vmap, checkpoint and shard_map: the same numbers as one by one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec
from problems import Shape, attend, random_features, random_spots
from references import as_lists, assert_close, dense_reference, seen_by_spots

from pallas_kernels.sparse_attention import sparse_attention

SHAPE = Shape((3, 4), (9, 5), window=3, windows=2, channels=4)
EVERY = pytest.mark.parametrize(
    "implementation", ["pallas_lists", "pallas_tiles", "tiles_or_lists"]
)


def problem(implementation, seed):
    """q, k, v, g and the index of a problem: lists for "pallas_lists", else spots."""
    spots = random_spots(SHAPE, seed)
    of_lists = implementation == "pallas_lists"
    index = jnp.asarray(as_lists(seen_by_spots(spots))) if of_lists else spots
    return *random_features(SHAPE, seed), index


def expected_for(q, k, v, g, index):
    cells = index if isinstance(index, jax.Array) else as_lists(seen_by_spots(index))
    return dense_reference(q, k, v, np.asarray(cells), g)


def attention(implementation, index, q, k, v):
    """By lists or by spots."""
    if implementation == "pallas_lists":
        return sparse_attention(q, k, v, index, implementation=implementation)
    return attend(implementation, q, k, v, index)


def run(implementation, q, k, v, g, index):
    """Output and gradients."""
    out, pull = jax.vjp(functools.partial(attention, implementation, index), q, k, v)
    return out, pull(g)


def stacked(problems):
    return jax.tree.map(lambda *x: jnp.stack(x), *problems)


@EVERY
def test_nested_vmap_treats_each_problem_alone(implementation):
    problems = [[problem(implementation, 2 * row + i) for i in range(2)] for row in range(3)]
    batch = stacked([stacked(row) for row in problems])
    results = jax.jit(jax.vmap(jax.vmap(functools.partial(run, implementation))))(*batch)
    for row, i in np.ndindex(3, 2):
        actual = jax.tree.map(lambda x, row=row, i=i: x[row, i], results)
        assert_close(actual, expected_for(*problems[row][i]))


@EVERY
def test_checkpoint_changes_no_gradient(implementation):
    *features, g, index = problem(implementation, 0)

    @jax.jit
    def gradients(*features):
        saved_less = jax.checkpoint(functools.partial(attention, implementation, index))
        out, pull = jax.vjp(saved_less, *features)
        return out, pull(g)

    assert_close(gradients(*features), expected_for(*features, g, index))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only the CPU has virtual devices")
@EVERY
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
def test_a_batch_over_several_devices_gives_what_one_device_gives(implementation, dtype):
    mesh = Mesh(np.array(jax.devices()[:2]).reshape(2), ("data",))
    split = PartitionSpec("data")
    batch = stacked([problem(implementation, seed) for seed in range(4)])
    batch = (*(x.astype(dtype) for x in batch[:4]), batch[4])
    on_one = jax.vmap(functools.partial(run, implementation))
    on_two = jax.shard_map(on_one, mesh=mesh, in_specs=split, out_specs=split, check_vma=False)
    results = jax.jit(on_two)(*batch)
    assert all(len(x.devices()) == 2 for x in jax.tree.leaves(results))
    assert {x.dtype for x in jax.tree.leaves(results)} == {jnp.dtype(dtype)}
    jax.tree.map(np.testing.assert_array_equal, results, jax.jit(on_one)(*batch))
