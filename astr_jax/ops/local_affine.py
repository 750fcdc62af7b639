"""The affine map about each match of a field, and how much it magnifies: fits to neighbours.

For ONE pair, inside jit. The neighbours come from the coarse grid, not from a table of distances:
time and memory grow with the number of matches. Neighbours stand first, matches last ([s k]), so
that a CPU works on vectors of matches.
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, Real

from astr_jax.ops.chunks import in_chunks
from pallas_kernels.arrays import Array

RADIUS = 12  # neighbours lie within so many cells
EXTREME = 16.0  # magnifications beyond it are errors
FEWEST = 6  # neighbours of a fit: it has three unknowns per axis
_BLOCKS = (1, 2, 3)  # sides, in cells, of blocks that stand for one neighbour each
_ENOUGH = 40  # neighbours: fewer, and larger blocks are looked at
_REACH = 4  # blocks to either side
# What each bit of an exponent multiplies a number by, and what it is alone, which 2^-127 would be
# without any. The first is never set beside another one.
_BIT_VALUES = 2 ** np.arange(7, -1, -1)
_MORE_POWERS = np.float32(2.0) ** np.minimum(_BIT_VALUES, 127).astype(np.float32)
_FIRST_POWERS = np.float32(2.0) ** (_BIT_VALUES - 127).astype(np.float32)
_DISC = np.array(
    [
        (x, y)
        for y in range(-_REACH, _REACH + 1)
        for x in range(-_REACH, _REACH + 1)
        if x * x + y * y <= 20
    ]
)


@flax.struct.dataclass
class MatchGrid:
    """Valid matches by their place in image 0: what neighbours are found by."""

    points0: Float[Array, "k 2"]
    first: tuple  # [cells] of each size of _BLOCKS: the first match of each block, k for none
    grid: tuple[int, int] = flax.struct.field(pytree_node=False)
    cell: Real[Array, ""] | float

    @classmethod
    def of(cls, points0, valid, *, grid: tuple[int, int], cell) -> "MatchGrid":
        """grid: (height, width) of the coarse cells of image 0; points beyond count as in its
        outermost cells. cell: the side of one, pixels."""
        points0, k = jnp.asarray(points0), points0.shape[0]
        first = []
        for side in _BLOCKS:
            height, width = _padded(grid, side)
            empty = jnp.full(height * width, k, jnp.int32)
            place = jnp.where(valid, _places(points0, grid, cell, side), height * width)
            first.append(empty.at[place].min(jnp.arange(k, dtype=jnp.int32), mode="drop"))
        return cls(points0, tuple(first), grid, cell)

    def about(self, points: Float[Array, "c 2"]) -> tuple[Int[Array, "s c"], Bool[Array, "s c"]]:
        """The rows of up to 69 matches about each point, and which of them count.

        Where matches lie dense these are the cells within 4.5 of its own; elsewhere the blocks of
        2 x 2 or 3 x 3 cells, whose first match stands for all, up to RADIUS cells away.
        """
        k, chosen, most = self.points0.shape[0], None, None
        for side, first in zip(_BLOCKS, self.first, strict=True):
            moves = jnp.asarray(_DISC @ (1, _padded(self.grid, side)[1]), jnp.int32)
            rows = first[_places(points, self.grid, self.cell, side)[None] + moves[:, None]]
            safe = jnp.minimum(rows, k - 1)
            away = sum(
                (p[safe] - c[None]) ** 2 for p, c in zip(self.points0.T, points.T, strict=True)
            )
            near = (rows < k) & (away <= (RADIUS * self.cell) ** 2)
            count = near.sum(axis=0)
            if chosen is None:
                chosen, most = (safe, near), count
                continue
            more = (most < _ENOUGH) & (count > most)
            chosen = tuple(
                jnp.where(more[None], *x) for x in zip((safe, near), chosen, strict=True)
            )
            most = jnp.where(more, count, most)
        return chosen


def _padded(grid: tuple[int, int], side: int) -> tuple[int, int]:
    """Blocks of a grid, and _REACH of them around it."""
    return tuple(-(-n // side) + 2 * _REACH for n in grid)


def _places(points: Float[Array, "c 2"], grid, cell, side: int) -> Int[Array, " c"]:
    """The block that each point lies in."""
    x, y = (
        jnp.clip(jnp.round(p / cell), 0, n - 1).astype(jnp.int32) // side + _REACH
        for p, n in zip(points.T, grid[::-1], strict=True)
    )
    return y * _padded(grid, side)[1] + x


def local_magnification(
    points0: Float[Array, "k 2"],
    points1: Float[Array, "k 2"],
    valid: Bool[Array, " k"],
    matches: MatchGrid,
) -> Float[Array, " k"]:
    """sqrt|det A| of the affine map about each match; 1 if there is none."""
    affine, known = local_affine(points0, points1, valid, matches)
    a, b, c, d = affine.reshape(-1, 4).T
    determinant = jnp.abs(a * d - b * c)
    known &= determinant > EXTREME**-4
    return jnp.where(known, jnp.sqrt(jnp.where(known, determinant, 1.0)), 1.0)


def local_affine(
    points0: Float[Array, "k 2"],
    points1: Float[Array, "k 2"],
    valid: Bool[Array, " k"],
    matches: MatchGrid,
) -> tuple[Float[Array, "k 2 2"], Bool[Array, " k"]]:
    """A of the robust affine map points0 -> points1 about each match, and whether enough neighbours
    say so.

    Least squares reweighted: first towards the smallest sum of distances, which outliers pull
    little, then by Tukey's biweight, which drops them. Points are true to about half a cell.
    """
    whole0, whole1 = jax.lax.stop_gradient((points0, points1))

    def some(centres0, centres1):
        rows, near = matches.about(centres0)
        about = [
            (p[rows] - c[None]) / (RADIUS * matches.cell)
            for p, c in zip((*whole0.T, *whole1.T), (*centres0.T, *centres1.T), strict=True)
        ]
        return _affine(*(jnp.where(near, x, 0.0) for x in about), near)

    return in_chunks(some, valid, points0, points1)


def is_mild(affine: Float[Array, "k 2 2"]) -> Bool[Array, " k"]:
    """Which maps neither mirror nor magnify nor shrink any direction more than some five times."""
    a, b, c, d = affine.reshape(-1, 4).T
    largest = jnp.sqrt(a * a + b * b + c * c + d * d)  # at least, and at most sqrt(2) times it
    return (largest < 5.0) & (a * d - b * c > 0.15 * largest)


def _affine(x, y, u, v, near) -> tuple[Float[Array, "c 2 2"], Bool[Array, " c"]]:
    """Of neighbours at (x, y) [s c] about a match of image 0 and (u, v) about its partner, both in
    units of RADIUS cells."""
    half = 0.5 / RADIUS  # of a cell
    products = jnp.stack([x, y, u, v, x * x, x * y, y * y, x * u, y * u, x * v, y * v])

    def fit(weight):
        """The affine map of the weighted neighbours, in closed form."""
        total = jnp.maximum(weight.sum(axis=0), 1e-12)
        moments = (products * weight[None]).sum(axis=1) / total[None]
        mx, my, mu, mv, xx, xy, yy, xu, yu, xv, yv = moments
        xx, xy, yy = xx - mx * mx, xy - mx * my, yy - my * my
        xu, yu, xv, yv = xu - mx * mu, yu - my * mu, xv - mx * mv, yv - my * mv
        spread = xx * yy - xy * xy
        solvable = spread > 1e-6 * xx * yy + 1e-12  # not on a line
        share = jnp.where(solvable, 1.0 / jnp.where(solvable, spread, 1.0), 0.0)
        a, b = (xu * yy - yu * xy) * share, (yu * xx - xu * xy) * share
        c, d = (xv * yy - yv * xy) * share, (yv * xx - xv * xy) * share
        return a, b, c, d, mu - a * mx - b * my, mv - c * mx - d * my

    def square_miss(weight):
        a, b, c, d, e, f = (z[None] for z in fit(weight))
        return (a * x + b * y + e - u) ** 2 + (c * x + d * y + f - v) ** 2

    def towards_median(_, weight):
        return jnp.where(near, 1.0 / (jnp.sqrt(square_miss(weight) + 1e-12) + half), 0.0)

    def dropping(_, weight):
        square = square_miss(weight)
        cutoff = 9.0 * jnp.maximum(lower_median(square, near, bits=14), half**2)
        return jnp.where(near, jnp.maximum(1.0 - square / cutoff[None], 0.0) ** 2, 0.0)

    weight = jax.lax.fori_loop(0, 5, towards_median, near.astype(jnp.float32))
    weight = jax.lax.fori_loop(0, 3, dropping, weight)
    affine = jnp.stack(fit(weight)[:4], axis=-1).reshape(-1, 2, 2)
    return affine, (weight > 0.1).sum(axis=0) >= FEWEST


def lower_median(
    values: Float[Array, "s k"], marked: Bool[Array, "s k"], *, bits: int = 31
) -> Float[Array, " k"]:
    """The lower median over axis 0 of the marked values, which must not be negative; 0 if there are
    none. By bisection on the bits of the numbers, from the largest power of two down: no sort.
    With fewer than 31 bits it is rounded down; 8 of them are the exponent."""
    values = jnp.where(marked, values, jnp.inf)
    count = marked.sum(axis=0)
    middle = (jnp.maximum(count, 1) - 1) // 2

    def raised(low, higher):
        """`higher` where it is not beyond the median, else `low`."""
        return jnp.where((values < higher[None]).sum(axis=0) <= middle, higher, low)

    def exponent(low, powers):
        first, more = powers
        return raised(low, jnp.where(low > 0, low * more, first)), None

    def mantissa(low, share):
        return raised(low, low + share * unit), None

    low = jnp.zeros(count.shape, jnp.float32)
    low, _ = jax.lax.scan(exponent, low, (_FIRST_POWERS, _MORE_POWERS))
    unit = low  # the power of two
    low, _ = jax.lax.scan(
        mantissa, low, np.float32(0.5) ** np.arange(1, bits - 7, dtype=np.float32)
    )
    return jnp.where(count > 0, low, 0.0)
