"""Spans: for each query, a rectangle of the other image about a place that lies between cells too.

With cells (x, y) of grid1, a centre c and half-sides r, both (x, y) in cells:

- `samples=None`: the query sees every cell with |x - c_x| <= r_x and |y - c_y| <= r_y. Sides are
  cut to `reach`. Centres and half-sides have no gradient: a cell is inside or not.
- `samples=g`: g x g points lie evenly over the rectangle, from edge to edge. Each stands for the
  up to four cells about it, by their bilinear weights. A cell's weight is the sum of what it gets:

      w(x, y) = hat_x(x) hat_y(y),   hat_x(x) = sum_a max(0, 1 - |c_x + r_x t_a - x|)

  with t_a = -1 ... 1 in g steps (for one point: 0). The sum over points is a product since they
  form a grid. Centres and half-sides have the gradient of these weights.
"""

import dataclasses
from typing import no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from pallas_kernels.arrays import Array
from pallas_kernels.sparse_attention import checks
from pallas_kernels.sparse_attention.pairs import Lists, Pairs
from pallas_kernels.sparse_attention.windows import Grid


@no_type_check  # ready() checks it, in words
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Spans:
    """Where the queries, the cells of grid0, look: a rectangle of grid1 about a centre."""

    centres: Float[Array, "*b n 2"]  # (x, y), cells of grid1; a query without one: NaN
    halves: Float[Array, "*b n 2"]  # half-sides, along x and y, in cells; not negative
    valid0: Bool[Array, "*b n"]  # queries that look at all
    valid1: Bool[Array, "*b m"]  # keys that may be seen
    grid0: Grid = dataclasses.field(metadata={"static": True})
    grid1: Grid = dataclasses.field(metadata={"static": True})
    samples: int | None = dataclasses.field(default=None, metadata={"static": True})  # along a side
    reach: int = dataclasses.field(default=2, metadata={"static": True})  # without samples

    def ready(self, num_queries: int, num_keys: int, checked: bool) -> "Spans":
        numbers = num_queries, num_keys
        checks.check_spans(self, numbers, checked)
        masks = zip((self.valid0, self.valid1), numbers, strict=True)
        valid0, valid1 = (jnp.reshape(mask, n) for mask, n in masks)
        return dataclasses.replace(self, valid0=valid0, valid1=valid1)

    def lists(self) -> Lists:
        """The spans as lists: every key once, -1 in the other slots. Of (2 reach + 1)^2 slots, or
        with samples of (2 samples)^2, with weights."""
        place, known = self._places()
        if self.samples is None:
            cells, weights = self._inside(place), None
        else:
            cells, weights = self._sampled(place)
        seen = (cells >= 0) & self.valid1[jnp.maximum(cells, 0)]
        seen &= (known & self.valid0)[:, None]
        if weights is not None:
            weights = jnp.where(seen, weights, 0.0)
        return Lists(jnp.where(seen, cells, -1), self.valid1.shape[0], weights)

    def pairs(self) -> Pairs:
        return self.lists().pairs()

    def holds(self, query: Int[Array, " p"], key: Int[Array, " p"]) -> Bool[Array, " p"]:
        """Whether each key lies in its query's span; with samples, whether its weight is above 0.
        Negative indices mean nothing."""
        place, known = self._places()
        xy = jnp.stack([key % self.grid1[1], key // self.grid1[1]], axis=-1).astype(place.dtype)
        if self.samples is None:
            halves = self._halves(float(self.reach))[query]
            inside = (jnp.abs(place[query] - xy) <= halves).all(axis=-1)
        else:
            points = self._points(place)[query]  # [p 2 g]
            inside = (_hat(points, xy[..., None]) > 0).all(axis=(-1, -2))
        return inside & (known & self.valid0)[query] & self.valid1[key]

    def _places(self) -> tuple[Float[Array, "n 2"], Bool[Array, " n"]]:
        """The centres, within reach of the grid so that they may be cast; and which are numbers."""
        known = jnp.isfinite(self.centres).all(axis=-1)
        place = _numbers(jnp.where(known[:, None], self.centres, 0.0))
        far = float(max(self.grid1))
        return jnp.clip(place, -2 * far, 3 * far), known

    def _halves(self, most: float) -> Float[Array, "n 2"]:
        return jnp.minimum(_numbers(self.halves), most)

    def _inside(self, place: Float[Array, "n 2"]) -> Int[Array, "n s"]:
        width, side = self.grid1[1], 2 * self.reach + 1
        nearest = jnp.round(place).astype(jnp.int32)
        dy, dx = np.divmod(np.arange(side * side, dtype=np.int32), side)
        x = nearest[:, :1] + (dx - self.reach)[None]
        y = nearest[:, 1:] + (dy - self.reach)[None]
        halves = self._halves(float(self.reach))
        near_x, near_y = (
            jnp.abs(line.astype(place.dtype) - place[:, a, None]) <= halves[:, a, None]
            for a, line in enumerate((x, y))
        )
        inside = near_x & near_y & (x >= 0) & (x < width) & (y >= 0) & (y < self.grid1[0])
        return jnp.where(inside, y * width + x, -1)

    def _points(self, place: Float[Array, "n 2"]) -> Float[Array, "n 2 g"]:
        """Where the samples lie along x and along y."""
        g = self.samples
        steps = np.linspace(-1.0, 1.0, g) if g > 1 else np.zeros(1)
        steps = jnp.asarray(steps, place.dtype)[None, None]
        return place[..., None] + self._halves(4.0 * max(self.grid1))[..., None] * steps

    def _sampled(self, place: Float[Array, "n 2"]) -> tuple:
        """Cells and weights [n (2g)^2]; the columns, and the rows, each once."""
        points = self._points(place)
        far = float(2 * max(self.grid1))
        corner = jnp.floor(jnp.clip(jax.lax.stop_gradient(points), -far, far)).astype(jnp.int32)
        lines = jnp.stack([corner, corner + 1], axis=-1).reshape(*points.shape[:2], -1)  # ascending
        before = jnp.pad(corner + 1, ((0, 0), (0, 0), (1, 0)), constant_values=-(2**30))[..., :-1]
        # A sample's corners stand already where the sample before has them.
        first = corner > before
        second = corner + 1 > before
        fresh = jnp.stack([first, second], axis=-1).reshape(lines.shape)
        weight = _hat(points[:, :, None], lines.astype(place.dtype)[..., None])[..., 0]
        ends = jnp.array([self.grid1[1], self.grid1[0]])[None, :, None]
        held = fresh & (lines >= 0) & (lines < ends) & (weight > 0)
        x, y = lines[:, 0], lines[:, 1]
        both = held[:, 1, :, None] & held[:, 0, None]
        cells = jnp.where(both, y[:, :, None] * self.grid1[1] + x[:, None], -1)
        weights = jnp.where(both, weight[:, 1, :, None] * weight[:, 0, None], 0.0)
        return cells.reshape(len(cells), -1), weights.reshape(len(cells), -1)


def _hat(points: Float[Array, "*#b g"], lines: Float[Array, "*#b 1"]) -> Float[Array, "*#b 1"]:
    """What a line of cells gets of all points along its axis."""
    share = jnp.maximum(1 - jnp.abs(points - lines), 0.0)
    return share.sum(axis=-1, keepdims=True)


def _numbers(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """As float32, or finer."""
    return x if jnp.finfo(x.dtype).bits > 32 else x.astype(jnp.float32)
