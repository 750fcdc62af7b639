"""Stars: the points of one image found in all of its partners.

    seeds   every image proposes one point for each of its coarse cells: a corner (seeds.py)
    carry   the matches of each pair take a seed to the partners of its image (carrying.py)
    polish  least-squares matching lays every observation upon the seed's own surroundings

So all observations of a star mean the very point of its reference image, to a fraction of a pixel,
though the pairs were matched apart, at points that differ by a few pixels.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from astr_jax.geometry import enlarged_points, shrunk_points
from astr_jax.matching.canvases import canvases
from astr_jax.ops.grids import COARSE_STRIDE
from astr_jax.reconstruction.carrying import carry, filled, settle
from astr_jax.reconstruction.pictures import Picture
from astr_jax.reconstruction.tracks import Tracks


@dataclasses.dataclass(frozen=True, kw_only=True)
class StarOptions:
    """How points are followed."""

    resize: int = 640  # limit of the long side that pairs were matched at, pixels
    polish_size: int = 1600  # limit of the long side that observations are polished at, pixels
    most_sigma: float = 0.18  # standard deviation of an observation at the polishing size, pixels

    def __post_init__(self):
        if self.polish_size < self.resize:
            raise ValueError(
                f"polish_size must be at least resize; got {self.polish_size} and {self.resize}."
            )
        if self.most_sigma <= 0:
            raise ValueError(f"most_sigma must be above 0; got {self.most_sigma}.")


class PairMatches(NamedTuple):
    """The matches of one image with another."""

    partner: int
    own: Float[np.ndarray, "k 2"]  # pixels of the upright images as given
    others: Float[np.ndarray, "k 2"]


class _Observed(NamedTuple):
    """Where a partner shows seeds of an image."""

    seed: np.ndarray  # [k], numbers
    points: np.ndarray  # [k 2], pixels of the partner as given
    sigma: np.ndarray  # [k]


def grow_stars(
    image: int,
    pairs: Sequence[PairMatches],
    picture_of: Callable[[int], Picture],
    options: StarOptions,
) -> Tracks:
    """Tracks whose reference is this image (of sigma 0), without names; those of one image alone
    are left out."""
    picture = picture_of(image)
    seeds = enlarged_points(picture.seeds.points, picture.working_scale)
    seen = [_observed(pair, picture, picture_of(pair.partner), options) for pair in pairs]
    found = np.unique(np.concatenate([np.zeros(0, int), *(o.seed for o in seen)]))
    seen.append(_Observed(found, seeds[found], np.zeros(len(found))))
    images = np.repeat([*(pair.partner for pair in pairs), image], [len(o.seed) for o in seen])
    seed, points, sigma = (np.concatenate(field) for field in zip(*seen, strict=True))
    order = np.lexsort([images, seed])
    track = np.searchsorted(found, seed[order])
    return Tracks((), track, images[order], points[order], sigma[order])


def _observed(pair: PairMatches, picture: Picture, other: Picture, options) -> _Observed:
    """The seeds that settle in a partner."""
    grid = tuple(side // COARSE_STRIDE for side in canvases(options.resize)[-1])
    room = max(grid[0] * grid[1], len(pair.own))
    own = shrunk_points(pair.own, picture.working_scale).astype(np.float32)
    others = shrunk_points(pair.others, other.working_scale).astype(np.float32)
    seeds = picture.seeds.points
    carried = carry(
        filled(own, room),
        filled(others, room),
        filled(np.ones(len(own), bool), room),
        filled(seeds, grid[0] * grid[1]),
        grid=grid,
    )
    points, affine, known = (np.asarray(x)[: len(seeds)] for x in carried)
    take = np.flatnonzero(known)
    settled, points, sigma = _settled(
        picture, other, seeds[take], points[take], affine[take], grid[0] * grid[1]
    )
    good = settled & (sigma < options.most_sigma)
    scale = float(np.mean(other.polish_scale))
    return _Observed(
        take[good], enlarged_points(points[good], other.polish_scale), sigma[good] * scale
    )


def _settled(
    picture: Picture, other: Picture, points0, points1, affine, room: int
) -> tuple[Bool[np.ndarray, " k"], Float[np.ndarray, "k 2"], Float[np.ndarray, " k"]]:
    """Which matches come to rest, where in image 1, and sigma; at the polishing sizes. points0,
    points1, affine: in working pixels."""

    def larger(points, of):
        given = enlarged_points(points, of.working_scale)
        return shrunk_points(given, of.polish_scale).astype(np.float32)

    scale0, scale1 = (np.divide(p.working_scale, p.polish_scale) for p in (picture, other))
    affine = (affine * scale1[:, None] / scale0).astype(np.float32)
    valid, places = np.ones(len(points0), bool), (larger(points0, picture), larger(points1, other))
    rows = (filled(x, room) for x in (*places, affine, valid))
    fitted = settle(picture.levels, other.levels, picture.mask, other.mask, *rows)
    found = (fitted.settled, fitted.points1, fitted.covariance)
    settled, points, covariance = (np.asarray(x)[: len(points0)] for x in found)
    return settled, points, np.sqrt((covariance[:, 0, 0] + covariance[:, 1, 1]) / 2)
