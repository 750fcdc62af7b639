"""Functions of one pair, applied to a batch of pairs on one device or on many."""

from collections.abc import Callable

import jax
from jax.sharding import PartitionSpec

DATA_AXIS = "data"  # of the mesh that batches are split over


def per_pair(function: Callable) -> Callable:
    """Returns `function` over a leading axis of pairs.

    Under a mesh (`jax.set_mesh`) that has DATA_AXIS, each device computes its own pairs and
    nothing else: a compiler cannot split a Pallas kernel by itself, and would gather the batch.
    """

    def over_batch(*arguments):
        mesh = jax.sharding.get_abstract_mesh()
        batched = jax.vmap(function)
        if DATA_AXIS not in mesh.axis_names or mesh.size == 1:
            return batched(*arguments)
        split = PartitionSpec(DATA_AXIS)
        return jax.shard_map(batched, in_specs=split, out_specs=split, check_vma=False)(*arguments)

    return over_batch
