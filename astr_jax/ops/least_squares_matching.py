"""Least-squares matching: two patches laid upon each other to a fraction of a pixel.

For ONE pair, inside jit. Each match starts from a point in either image and the affine map between
their surroundings. The map is improved until the grey values agree, but for mean and contrast
(Gruen, 1985), by inverse composition (Baker and Matthews, 2004), whose slopes are those of image 0
alone: first on a coarse picture, which reaches far, then on a fine one. Samples stand first and
matches last ([s k]), so that a CPU works on vectors of matches.
"""

import dataclasses

import flax.struct
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Bool, Float

from astr_jax.ops.cholesky import cholesky, solve
from astr_jax.ops.chunks import in_chunks
from astr_jax.ops.sampling import Places, places_in, sampled, smoothed, taken
from pallas_kernels.arrays import Array

LEAST_CORRELATION = 0.5  # of the two patches, in the end
LEAST_SLOPE = 0.01  # squared, in units of the contrast a sample: across the patch's main direction
FARTHEST = 3.0  # pixels that a match may move, of the picture that shows less
LAST_STEP = 0.05  # samples: what moves further in the last round has not settled
ALIKE = 6.2  # samples that share their noise in a smoothed picture, measured under sensor noise
SHAPE = 0.5  # of the covariance's long shape that errors show, measured on homographies
_LEAST_CONTRAST = 2 / 255  # grey values: below it a patch is noise
_LEAST_RESIDUAL = 1e-5  # squared, in units of the contrast: of patches that agree exactly
_AT_ONCE = 64  # matches: what they need stays in a cache

Pictures = tuple[Float[Array, "h w"], ...]  # of one image, smoothed for each of LEVELS


@dataclasses.dataclass(frozen=True)
class Level:
    """One pass: a patch of (2 reach + 1)^2 samples of a smoothed picture."""

    blur: float  # standard deviation, pixels
    reach: int  # samples
    step: float  # pixels between samples, of the picture that shows less
    rounds: int
    stiffness: float  # what keeps the affine part where the patch tells little of it


LEVELS = (
    Level(blur=2.0, reach=7, step=2.0, rounds=6, stiffness=0.3),
    Level(blur=0.8, reach=8, step=1.0, rounds=10, stiffness=0.02),
)


@flax.struct.dataclass
class Fitted:
    """Matches after least-squares matching; those that did not settle are as they were."""

    points1: Float[Array, "*b k 2"]
    covariance: Float[Array, "*b k 2 2"]  # of points1, pixels squared; 0 where not settled
    settled: Bool[Array, "*b k"]


def fit_patches(
    image0: Float[Array, "h0 w0"],
    image1: Float[Array, "h1 w1"],
    mask0: Bool[Array, "h0 w0"],
    mask1: Bool[Array, "h1 w1"],
    *matches: Array,
) -> Fitted:
    """fit_smoothed of images that are not smoothed yet; matches: from points0 on."""
    return fit_smoothed(levels_of(image0, mask0), levels_of(image1, mask1), mask0, mask1, *matches)


def levels_of(image: Float[Array, "h w"], mask: Bool[Array, "h w"]) -> Pictures:
    """The smoothed pictures of an image that fit_smoothed takes, one for each of LEVELS."""
    return tuple(smoothed(image, mask, level.blur) for level in LEVELS)


def fit_smoothed(
    pictures0: Pictures,
    pictures1: Pictures,
    mask0: Bool[Array, "h0 w0"],
    mask1: Bool[Array, "h1 w1"],
    points0: Float[Array, "k 2"],
    points1: Float[Array, "k 2"],
    affine: Float[Array, "k 2 2"],
    valid: Bool[Array, " k"],
) -> Fitted:
    """Where in image 1 the surroundings of points of image 0 fit best.

    pictures0, pictures1: of levels_of. points1: estimates, true to some 3 pixels. affine: of the
    surroundings, image 0 to image 1. A match settles where its patches lie on usable pixels, have
    slopes in both directions, come to rest near the estimate, and look alike in the end.
    """
    magnification = jnp.sqrt(jnp.maximum(jnp.abs(jnp.linalg.det(affine)), 1e-6))
    unit = jnp.maximum(1.0, 1.0 / magnification)  # pixels of image 0 for one where less is shown

    def some(points0, points1, affine, unit):
        at, warp = tuple(points1.T), tuple(affine.reshape(-1, 4).T)
        for level, picture0, picture1 in zip(LEVELS, pictures0, pictures1, strict=True):
            patch = Patch.of(picture0, tuple(points0.T), unit * level.step, level)
            at, warp, seen, last_step = patch.laid_upon(picture1, at, warp, level.rounds)
        correlation, residual = patch.agreement(seen)
        slope, covariance = patch.certainty(residual)
        good = (correlation > LEAST_CORRELATION) & (slope > LEAST_SLOPE) & (last_step < LAST_STEP)
        warp = jnp.stack(warp, axis=-1).reshape(-1, 2, 2)
        return jnp.stack(at, axis=-1), warp @ covariance @ warp.mT, good

    found, covariance, good = in_chunks(
        some, valid, points0, points1, affine, unit, at_once=_AT_ONCE
    )
    last = LEVELS[-1].reach * LEVELS[-1].step
    settled = valid & good
    settled &= jnp.linalg.norm(found - points1, axis=1) < FARTHEST * unit * magnification
    settled &= usable_about(mask0, points0, last * unit)
    settled &= usable_about(mask1, found, last * unit * magnification)
    found = jnp.where(settled[:, None], found, points1)
    return Fitted(found, jnp.where(settled[:, None, None], covariance, 0.0), settled)


@dataclasses.dataclass(frozen=True)
class Patch:
    """Patches of image 0, and what their slopes say of a small affine change: x -> D x + t, by
    t_x, t_y, and D - 1 row by row in units of the patch's reach."""

    template: Float[Array, "s k"]  # of mean 0 and contrast 1
    slopes: list[Float[Array, "s k"]]  # of the six numbers
    moments: list[list[Float[Array, " k"]]]  # their products, the lower triangle
    factor: list[list[Float[Array, " k"]]]  # Cholesky's, of the moments made stiff
    weight: Float[Array, "s 1"]
    offsets: tuple[Float[Array, "s 1"], Float[Array, "s 1"]]  # x, y, samples
    apart: Float[Array, " k"]  # pixels of image 0 between samples
    reach: int

    @classmethod
    def of(cls, picture, at, apart, level: Level) -> "Patch":
        """at: (x, y) of the centres, pixels."""
        n = level.reach
        line = np.arange(-n - 1, n + 2, dtype=np.float32)
        y, x = (o[..., None] for o in np.meshgrid(line, line, indexing="ij"))
        column, row, step = (p[None, None] for p in (*at, apart))
        wide = sampled(picture, column + step * x, row + step * y)
        inner = np.s_[1:-1, 1:-1]
        x, y = (o[inner].reshape(-1, 1) for o in (x, y))
        weight = np.exp(-(x**2 + y**2) / (2 * (0.6 * n) ** 2))
        weight = jnp.asarray(weight / weight.sum())

        def flat(x):
            return x.reshape(-1, x.shape[-1])

        template, contrast = normal(flat(wide[inner]), weight)
        along_x = flat(wide[1:-1, 2:] - wide[1:-1, :-2]) / (2 * contrast)[None]
        along_y = flat(wide[2:, 1:-1] - wide[:-2, 1:-1]) / (2 * contrast)[None]
        slopes = [along_x, along_y] + [g * o / n for g in (along_x, along_y) for o in (x, y)]
        # What a change of mean or contrast explains says nothing of where the patch lies.
        energy = jnp.maximum(mean(template**2, weight), 1e-6)
        slopes = [g - mean(g, weight)[None] for g in slopes]
        slopes = [g - (mean(g * template, weight) / energy)[None] * template for g in slopes]
        moments = [[mean(a * b, weight) for b in slopes[: i + 1]] for i, a in enumerate(slopes)]
        stiff = [1e-3, 1e-3] + [level.stiffness] * 4
        firm = [[*row[:-1], row[-1] + extra] for row, extra in zip(moments, stiff, strict=True)]
        return cls(template, slopes, moments, cholesky(firm), weight, (x, y), apart, n)

    def laid_upon(self, picture, at, warp, rounds: int):
        """Improves the point of image 1 and the affine map (a, b, c, d) of each patch. Returns
        both, what image 1 shows there, and the length of the last step, samples."""

        def one_round(_, state):
            (u, v), (a, b, c, d), places, _ = state
            residual = normal(taken(picture, places), self.weight)[0] - self.template
            change = [mean(g * residual, self.weight) for g in self.slopes]
            change = solve(self.factor, change)
            step = jnp.hypot(change[0], change[1])
            change = [p / jnp.maximum(step, 1.0) for p in change]
            # The inverse of the change, then the map so far.
            e, f, g, h = (
                p / self.reach + one for p, one in zip(change[2:], (1, 0, 0, 1), strict=True)
            )
            determinant = e * h - f * g
            determinant = jnp.where(jnp.abs(determinant) > 0.1, determinant, 1.0)
            e, f, g, h = h / determinant, -f / determinant, -g / determinant, e / determinant
            inner = a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h
            u = u - inner[0] * change[0] - inner[1] * change[1]
            v = v - inner[2] * change[0] - inner[3] * change[1]
            return (u, v), inner, self._places(picture, at, warp, (u, v), inner), step

        zero, one = jnp.zeros_like(self.apart), jnp.ones_like(self.apart)
        start = (zero, zero), (one, zero, zero, one)
        # Each round ends with the places of the next (see ops/sampling.py).
        start = *start, self._places(picture, at, warp, *start), zero
        moved, inner, places, step = lax.fori_loop(0, rounds, one_round, start)
        (u, v), (a, b, c, d) = moved, warp
        u, v = u * self.apart, v * self.apart
        at = at[0] + a * u + b * v, at[1] + c * u + d * v
        e, f, g, h = inner
        warp = a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h
        return at, warp, taken(picture, places), step

    def agreement(self, seen: Float[Array, "s k"]) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
        """Of each patch and what image 1 shows: their correlation, and what is left of the patch,
        squared, where that explains it as well as it can."""
        seen = normal(seen, self.weight)[0]
        correlation = mean(seen * self.template, self.weight)
        share = correlation / jnp.maximum(mean(seen**2, self.weight), 1e-6)
        return correlation, mean((self.template - share[None] * seen) ** 2, self.weight)

    def certainty(
        self, residual: Float[Array, " k"]
    ) -> tuple[Float[Array, " k"], Float[Array, "k 2 2"]]:
        """The slope across each patch's main direction, squared; and the covariance of its place in
        image 0, pixels squared: what noise as large as the residual moves it by.

        The place is found with the other four numbers, so it is a block of the inverse of all
        moments. Of white noise that a Gaussian of deviation b smooths, 4 pi b^2 samples are alike:
        8 of LEVELS[-1]; ALIKE is less, since the slopes are not the same throughout them.
        Errors of the map and of the light do not follow the slopes: SHAPE, at the same root mean.
        """
        xx, xy, yy = self.moments[0][0], self.moments[1][0], self.moments[1][1]
        slope = (xx + yy) / 2 - jnp.hypot((xx - yy) / 2, xy)
        one, zero = jnp.ones_like(slope), jnp.zeros_like(slope)
        xx, xy, *_ = solve(self.factor, [one] + [zero] * 5)
        _, yy, *_ = solve(self.factor, [zero, one] + [zero] * 4)
        noise = jnp.maximum(residual, _LEAST_RESIDUAL) * (self.weight**2).sum()
        noise = ALIKE * noise * self.apart**2
        even, long, xy = (xx + yy) / 2, SHAPE * (xx - yy) / 2, SHAPE * xy
        covariance = jnp.stack([even + long, xy, xy, even - long], axis=-1) * noise[:, None]
        return slope, covariance.reshape(-1, 2, 2)

    def _places(self, picture, at, warp, moved, inner) -> Places:
        """Where the samples lie in image 1: under `inner` and `moved`, in samples, then `warp`."""
        x, y = self.offsets
        u, v, a, b, c, d, apart = (p[None] for p in (*moved, *inner, self.apart))
        x, y = apart * (a * x + b * y + u), apart * (c * x + d * y + v)
        column, row, a, b, c, d = (p[None] for p in (*at, *warp))
        return places_in(picture, column + a * x + b * y, row + c * x + d * y)


def mean(x: Float[Array, "s k"], weight: Float[Array, "s 1"]) -> Float[Array, " k"]:
    """Weighted, over the samples."""
    return (weight * x).sum(axis=0)


def normal(
    x: Float[Array, "s k"], weight: Float[Array, "s 1"]
) -> tuple[Float[Array, "s k"], Float[Array, " k"]]:
    """Patches with mean 0 and contrast 1, and the contrast of each."""
    x = x - mean(x, weight)[None]
    contrast = jnp.sqrt(mean(x**2, weight)) + _LEAST_CONTRAST
    return x / contrast[None], contrast


def usable_about(
    mask: Bool[Array, "h w"], points: Float[Array, "k 2"], reach: Float[Array, " k"]
) -> Bool[Array, " k"]:
    """Whether all of the square about each point is usable; outside the image nothing is."""
    total = jnp.pad(mask.astype(jnp.int32).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    ends = [jnp.floor(points - reach[:, None]), jnp.ceil(points + reach[:, None]) + 1]
    size = ends[1] - ends[0]
    size_of_mask = jnp.array(mask.shape[::-1], jnp.float32)[None]
    (x0, y0), (x1, y1) = (jnp.clip(e, 0, size_of_mask).astype(jnp.int32).T for e in ends)
    count = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]
    return count.astype(size.dtype) == size[:, 0] * size[:, 1]
