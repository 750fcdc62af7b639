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


def run_batch(implementation, *batch):
    """run for a batch of batches."""
    return jax.vmap(jax.vmap(functools.partial(run, implementation)))(*batch)


@functools.cache
def batch_of(implementation):
    """A batch [2 2] of problems, and what they give on one device."""
    problems = [problem(implementation, seed) for seed in range(4)]
    batch = jax.tree.map(lambda *x: jnp.stack(x).reshape(2, 2, *x[0].shape), *problems)
    return problems, batch, jax.jit(run_batch, static_argnums=0)(implementation, *batch)


@EVERY
def test_nested_vmap_treats_each_problem_alone(implementation):
    problems, _, results = batch_of(implementation)
    for number, inputs in enumerate(problems):
        row, column = divmod(number, 2)
        actual = jax.tree.map(lambda x, at=(row, column): x[at], results)
        assert_close(actual, expected_for(*inputs))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only the CPU has virtual devices")
@EVERY
def test_several_devices_give_what_one_device_gives(implementation):
    _, batch, expected = batch_of(implementation)
    devices = jax.devices()[:2]
    assert len(devices) == 2, "tests/conftest.py sets the number of virtual devices"
    split = PartitionSpec("data")
    on_two = jax.shard_map(
        functools.partial(run_batch, implementation),
        mesh=Mesh(np.array(devices), ("data",)),
        in_specs=split,
        out_specs=split,
        check_vma=False,
    )
    results = jax.jit(on_two)(*batch)
    assert all(x.devices() == set(devices) for x in jax.tree.leaves(results))
    jax.tree.map(np.testing.assert_array_equal, results, expected)


@pytest.mark.parametrize("implementation", ["pallas_tiles", "tiles_or_lists"])
def test_checkpoint_changes_no_gradient(implementation):
    *features, g, index = problem(implementation, 0)

    @jax.jit
    def gradients(*features):
        saved_less = jax.checkpoint(functools.partial(attention, implementation, index))
        out, pull = jax.vjp(saved_less, *features)
        return out, pull(g)

    assert_close(gradients(*features), expected_for(*features, g, index))
