"""Functions of one pair, applied to a batch of pairs on one device or on many."""

import functools
from collections.abc import Callable

import jax
from jax.sharding import PartitionSpec

from pallas_kernels.target import target_platform

DATA_AXIS = "data"  # of the mesh that batches are split over


def per_pair(function: Callable) -> Callable:
    """Returns `function` over a leading axis of pairs.

    Under a mesh (`jax.set_mesh`) that has DATA_AXIS, each device computes its own pairs and
    nothing else: a compiler cannot split a Pallas kernel by itself, and would gather the batch.
    On a CPU pairs are computed one after the other: all at once they spill out of the cache.
    """

    def over_batch(*arguments):
        mesh = jax.sharding.get_abstract_mesh()
        batched = functools.partial(one_by_one, function)
        if target_platform() != "cpu":
            batched = jax.vmap(function)
        if DATA_AXIS not in mesh.axis_names or mesh.size == 1:
            return batched(*arguments)
        split = PartitionSpec(DATA_AXIS)
        return jax.shard_map(batched, in_specs=split, out_specs=split, check_vma=False)(*arguments)

    return over_batch


def one_by_one(function: Callable, *arguments):
    """jax.lax.map, and for one pair neither loop nor axis: of an axis of one XLA makes a slow
    program."""
    if len(jax.tree.leaves(arguments)[0]) > 1:
        return jax.lax.map(lambda pair: function(*pair), arguments)
    one = function(*jax.tree.map(lambda x: x[0], arguments))
    return jax.tree.map(lambda x: x[None], one)
