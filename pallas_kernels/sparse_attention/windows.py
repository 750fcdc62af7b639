"""Spots: for each query, the union of square windows around a few cells of the other image.

Cells are numbered row by row: cell = y * w + x on a grid (h, w). A window is clipped at the border
of the grid, not shifted; a centre of -1 is no window.
"""

import dataclasses
from typing import no_type_check

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int

from pallas_kernels.arrays import Array
from pallas_kernels.sparse_attention import checks
from pallas_kernels.sparse_attention.pairs import Lists, Pairs, with_a_slot

Grid = tuple[int, int]  # h, w


@no_type_check  # ready() checks it, in words
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Spots:
    """Where the queries, the cells of grid0, look: cells of grid1 near one of their centres."""

    centres: Int[Array, "*b n k"]  # cells of grid1; -1 is no window
    valid0: Bool[Array, "*b n"]  # queries that look at all
    valid1: Bool[Array, "*b m"]  # keys that may be seen
    grid0: Grid = dataclasses.field(metadata={"static": True})
    grid1: Grid = dataclasses.field(metadata={"static": True})
    window: int = dataclasses.field(metadata={"static": True})  # side, odd

    def arguments(self) -> dict:
        """As spot_attention and spot_dual_softmax take them."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def ready(self, num_queries: int, num_keys: int, checked: bool) -> "Spots":
        numbers, valid = (num_queries, num_keys), (self.valid0, self.valid1)
        given = self.centres, (self.grid0, self.grid1), self.window, valid
        checks.check_spots(numbers, *given, checked)
        centres, _ = with_a_slot(self.centres)
        valid = (jnp.reshape(mask, n) for mask, n in zip(valid, numbers, strict=True))
        return Spots(centres, *valid, tuple(self.grid0), tuple(self.grid1), self.window)

    def pairs(self) -> Pairs:
        return self.lists().pairs()

    def used_centres(self) -> Int[Array, "n k"]:
        """The centres, none where a query does not look."""
        return jnp.where(self.valid0[:, None], self.centres, -1)

    def lists(self) -> Lists:
        """The spots as lists of k * window^2 slots: every key once, -1 in the other slots."""
        cells = union_of_windows(self.used_centres(), grid=self.grid1, window=self.window)
        seen = (cells >= 0) & self.valid1[jnp.maximum(cells, 0)]
        return Lists(jnp.where(seen, cells, -1), self.valid1.shape[0])

    def holds(self, query: Int[Array, " p"], key: Int[Array, " p"]) -> Bool[Array, " p"]:
        """Whether each key stands in its query's spot. Negative indices mean nothing."""
        centres, width = self.used_centres()[query], self.grid1[1]
        dy = centres // width - (key // width)[:, None]
        dx = centres % width - (key % width)[:, None]
        near = jnp.maximum(jnp.abs(dy), jnp.abs(dx)) <= self.window // 2
        return (near & (centres >= 0)).any(axis=1) & self.valid1[key]


def window_cells(centres: Int[Array, "*b"], *, grid: Grid, window: int) -> Int[Array, "*b s"]:
    """Lists the cells of a square window around each centre; -1 outside or where there is none."""
    height, width = grid
    dy, dx = jnp.divmod(jnp.arange(window * window, dtype=jnp.int32), window)
    y = jnp.add.outer(centres // width, dy - window // 2)
    x = jnp.add.outer(centres % width, dx - window // 2)
    inside = (centres[..., None] >= 0) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    return jnp.where(inside, y * width + x, -1)


def union_of_windows(centres: Int[Array, "n k"], *, grid: Grid, window: int) -> Int[Array, "n s"]:
    """Lists the union of k windows per row, each cell once; -1 in the other slots."""
    width, reach = grid[1], window // 2
    cells = window_cells(centres, grid=grid, window=window)  # [n k w*w]
    k = centres.shape[1]
    kept = [cells[:, 0]]
    for later in range(1, k):  # k is 5: five small steps, no [n k*w*w k] buffer
        mine = cells[:, later]
        x, y = mine % width, mine // width
        seen = jnp.zeros(mine.shape, bool)
        for earlier in range(later):
            c = centres[:, earlier, None]
            near = (jnp.abs(x - c % width) <= reach) & (jnp.abs(y - c // width) <= reach)
            seen |= near & (c >= 0)
        kept.append(jnp.where(seen, -1, mine))
    return jnp.concatenate(kept, axis=1)
