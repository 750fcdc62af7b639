"""Two rules at once: what either of two indices holds, each key once."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int

from pallas_kernels.arrays import Array
from pallas_kernels.sparse_attention.pairs import Lists, Pairs


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Both:
    """The union of two padded indices of the same queries and keys, without weights: the slots of
    the first, then those of the second that the first does not hold."""

    first: Any  # a PaddedIndex
    second: Any

    def ready(self, num_queries: int, num_keys: int, checked: bool) -> "Both":
        both = Both(*(i.ready(num_queries, num_keys, checked) for i in (self.first, self.second)))
        for index in (both.first, both.second):
            if jax.eval_shape(lambda index: index.lists(), index).weights is not None:
                raise ValueError(
                    f"Both takes indices without weights, but these {type(index).__name__} have "
                    "some. Of Spans, take samples=None."
                )
        return both

    def lists(self) -> Lists:
        first, second = self.first.lists(), self.second.lists()
        shape = second.cells.shape
        query = jnp.broadcast_to(jnp.arange(shape[0])[:, None], shape).reshape(-1)
        key = second.cells.reshape(-1)
        twice = self.first.holds(query, jnp.maximum(key, 0)).reshape(shape)
        further = jnp.where(twice, -1, second.cells)
        return Lists(jnp.concatenate([first.cells, further], axis=1), first.num_keys)

    def pairs(self) -> Pairs:
        return self.lists().pairs()

    def holds(self, query: Int[Array, " p"], key: Int[Array, " p"]) -> Bool[Array, " p"]:
        """Whether either holds each pair. Negative indices mean nothing."""
        return self.first.holds(query, key) | self.second.holds(query, key)
