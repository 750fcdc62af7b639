"""What the bench times: spots of a smooth field, features, and what each function needs."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from pallas_kernels.arrays import Array
from pallas_kernels.sparse_attention import api
from pallas_kernels.sparse_attention.pairs import NOTHING, Lists
from pallas_kernels.sparse_attention.windows import Grid, Spots
from pallas_kernels.timing import Cost

CHOICE, DENSE, CUDNN = "None", "dense_masked", "dense_cudnn"
WINDOW, WINDOWS = 5, 5  # side of a window in cells; windows of a spot


@dataclasses.dataclass(frozen=True)
class Problem:
    """What a function (*inputs, index) -> (out, more results) is called with, and what that needs.

    index: who looks where, in the form that the function takes. It has no gradient.
    """

    inputs: tuple
    cotangent: Array
    index: Any
    forward: Cost
    both: Cost  # forward and backward

    def with_bias(self, bias: Float[Array, "n m"]) -> "Problem":
        """The same for dense functions. Those of P take the queries' own matches beside it."""
        index = (bias, self.index[1]) if isinstance(self.index, tuple) else bias
        return dataclasses.replace(self, index=index)


def grid_of(n: int) -> Grid:
    """(h, w) of n cells: 3 to 4, as 60 x 80 = 4800 of 640 x 480 pixels, or else a square."""
    for high, wide in ((3, 4), (1, 1)):
        side = round((n / (high * wide)) ** 0.5)
        if n == high * wide * side**2:
            return high * side, wide * side
    raise ValueError(f"--n must be 12 k^2 (4800 = 60 x 80) or k^2 (10816 = 104 x 104), got {n}.")


def field_spots(grid: Grid, outliers: float, seed: int = 0) -> Spots:
    """Spots around the matches of a similarity: 30 degrees, 1.3 times as large, about the middle.

    Matches beyond the border are moved to where a window just fits. The first centre is the
    query's own match.
    """
    rng, n, reach = np.random.default_rng(seed), grid[0] * grid[1], WINDOW // 2
    last = np.array(grid) - 1
    cell = np.stack(np.divmod(np.arange(n), grid[1]), axis=1)  # y, x
    sin, cos = 1.3 * np.sin(np.pi / 6), 1.3 * np.cos(np.pi / 6)
    match = (cell - last / 2) @ np.array([[cos, sin], [-sin, cos]]) + last / 2
    wrong = rng.random(n) < outliers
    match[wrong] = rng.integers(0, grid, (wrong.sum(), 2))
    match = np.clip(np.round(match), reach, last - reach).astype(int)

    steps = np.stack(np.divmod(np.arange(WINDOW**2), WINDOW), axis=1) - reach
    others = np.delete(np.arange(WINDOW**2), WINDOW**2 // 2)
    chosen = rng.permuted(np.tile(others, (n, 1)), axis=1)[:, : WINDOWS - 1]
    chosen = np.concatenate([np.full((n, 1), WINDOW**2 // 2), chosen], axis=1)
    near = np.clip(cell[:, None] + steps[chosen], 0, last)
    centre = match[near[..., 0] * grid[1] + near[..., 1]]
    centres = jnp.asarray(centre[..., 0] * grid[1] + centre[..., 1], jnp.int32)
    return Spots(centres, jnp.ones(n, bool), jnp.ones(n, bool), grid, grid, WINDOW)


def bias_of(lists: Lists, dtype: str) -> Float[Array, "n m"]:
    """Zero where a query looks, -1e30 elsewhere."""
    cells, rows = lists.cells, jnp.arange(lists.cells.shape[0])[:, None]
    bias = jnp.full((cells.shape[0], lists.num_keys), NOTHING, dtype)
    return bias.at[rows, jnp.where(cells >= 0, cells, lists.num_keys)].set(0, mode="drop")


def normal(shape: tuple[int, ...], dtype: str, count: int) -> tuple[Array, ...]:
    rng = np.random.default_rng(0)
    return tuple(jnp.asarray(rng.normal(size=shape), dtype) for _ in range(count))


def attention_problem(index, lists: Lists, heads: int, dim: int, dtype: str) -> Problem:
    """Attention of lists.num_keys queries. index: what the function takes; lists: the same."""
    *inputs, cotangent = normal((len(lists.cells), heads, dim), dtype, 4)
    pairs = float((lists.cells >= 0).sum())
    given = index.centres if isinstance(index, Spots) else lists.cells
    return Problem(
        tuple(inputs),
        cotangent,
        index,
        Cost(4 * pairs * heads * dim, 4 * cotangent.nbytes + given.nbytes),
        Cost(12 * pairs * heads * dim, 8 * cotangent.nbytes + given.nbytes),
    )


def dense_masked(q, k, v, bias):
    """All scores at once, in float32."""
    attn = jnp.einsum("nhd,mhd->hnm", q, k, preferred_element_type=jnp.float32)
    weight = jax.nn.softmax(attn * q.shape[-1] ** -0.5 + bias[None], axis=-1)
    return jnp.einsum("hnm,mhd->nhd", weight.astype(q.dtype), v)


def attention_function(name: str) -> Callable:
    """(q, k, v, Spots, Lists or bias) -> out, ()."""
    if name == DENSE:
        return lambda q, k, v, bias: (dense_masked(q, k, v, bias), ())
    if name == CUDNN:
        return lambda *x: (jax.nn.dot_product_attention(*x, implementation="cudnn"), ())
    implementation = None if name == CHOICE else name

    def attend(q, k, v, index):
        if isinstance(index, Lists):
            return api.sparse_attention(q, k, v, index.cells, implementation=implementation), ()
        spots = index.arguments()
        return api.spot_attention(q, k, v, **spots, implementation=implementation), ()

    return attend


def dual_problem(spots: Spots, lists: Lists, channels: int, dtype: str) -> Problem:
    """P of n features on both sides; out is log P of every query's own match."""
    n = len(spots.centres)
    inputs = normal((n, channels), dtype, 2)
    operations = 2 * float((lists.cells >= 0).sum()) * channels
    results = 5 * 4 * n  # both log-sum-exps, the best key with its log P, and out
    once = spots.centres.nbytes + results + 2 * inputs[0].nbytes
    more = 4 * n + 2 * inputs[0].nbytes  # the cotangent and the gradients
    costs = Cost(operations, once), Cost(3 * operations, once + more)
    return Problem(inputs, jnp.ones(n), (spots, spots.centres[:, 0]), *costs)


def dual_function(name: str) -> Callable:
    """(f0, f1, (Spots or bias, own matches)) -> log P of the own matches, the other results."""

    def sparse(f0, f1, index):
        spots, own = index
        implementation = None if name == CHOICE else name
        scale = 10 / f0.shape[-1]
        p = api.spot_dual_softmax(
            f0, f1, **spots.arguments(), scale=scale, implementation=implementation
        )
        out, _ = p.log_prob_at(jnp.arange(len(f0)), own)
        return out, (p.lse0, p.lse1, p.best, p.best_log_prob)

    def dense(f0, f1, index):
        bias, own = index
        f0, f1 = f0.astype(jnp.float32), f1.astype(jnp.float32)
        s = jnp.matmul(f0, f1.T, precision="highest") * (10 / f0.shape[-1]) + bias
        lse0, lse1 = jax.nn.logsumexp(s, axis=1), jax.nn.logsumexp(s, axis=0)
        log_prob = 2 * s - lse0[:, None] - lse1[None]
        out = jnp.take_along_axis(log_prob, own[:, None], axis=1)[:, 0]
        log_prob = jax.lax.stop_gradient(log_prob)
        return out, (lse0, lse1, log_prob.argmax(axis=1), log_prob.max(axis=1))

    return dense if name == DENSE else sparse


def with_gradients(function: Callable) -> Callable:
    """(inputs, index, cotangent) -> the function's results and its gradients to the inputs."""

    def both(inputs, index, cotangent):
        out, pull, more = jax.vjp(lambda *x: function(*x, index), *inputs, has_aux=True)
        return out, more, pull(cotangent)

    return both
