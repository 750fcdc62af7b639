"""An invented world for bulk matching: cameras on a ring about a drum of points; no network."""

import dataclasses
import functools
import time
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from astr_jax.images import Prepared
from astr_jax.matching import EncodedImage, Matcher
from astr_jax.reconstruction.pairs import Pair
from astr_jax.reconstruction.stars import PairMatches
from astr_jax.reconstruction.store import StoredMatches
from astr_jax.reconstruction.tracks import Tracks
from astr_jax.types import Matches

SIZE = (640, 480)
REACH = 0.6  # of the partners to either side: so far off are the cameras that see a point
RADIUS = 3.0  # of the ring; that of the drum is 1
NOISE = 0.3  # pixels
ROOM = 4800  # rows of a match, as the network gives them
BLANK = Prepared(np.zeros((1, 8, 8)), np.ones((1, 8, 8), bool), (1.0, 1.0), False)


@dataclasses.dataclass(frozen=True)
class World:
    """A ring of cameras, each matched with the next `partners`."""

    images: int = 500
    partners: int = 40
    keypoints: int = 1500  # of an image, about

    def __post_init__(self):
        if not 1 <= self.partners <= (self.images - 1) // 2:
            raise ValueError(
                f"partners must be at least 1 and less than half of the images; got "
                f"{self.partners} of {self.images}."
            )

    @property
    def names(self) -> list[str]:
        """Of the photographs."""
        return [f"{number:05d}.jpg" for number in range(self.images)]

    @property
    def pairs(self) -> list[Pair]:
        """Of the ring."""
        names, n = self.names, self.images
        steps = range(1, self.partners + 1)
        return [tuple(sorted((names[i], names[(i + k) % n]))) for i in range(n) for k in steps]

    def keypoints_of(self, image: int) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, "k 2"]]:
        """The points that an image shows, ascending, and where, the same in all of its pairs."""
        return _keypoints(self, image)

    def matches(self, pair: Pair) -> StoredMatches:
        """What is invented of a pair."""
        (ids0, xy0), (ids1, xy1) = (self.keypoints_of(int(name[:5])) for name in pair)
        _, rows0, rows1 = np.intersect1d(ids0, ids1, assume_unique=True, return_indices=True)
        half = np.full(len(rows0), 0.5, np.float32)
        return StoredMatches(xy0[rows0], xy1[rows1], half, half)


@functools.lru_cache(128)
def _keypoints(world: World, image: int) -> tuple[np.ndarray, np.ndarray]:
    reach = REACH * world.partners * 2 * np.pi / world.images
    count = round(world.keypoints * np.pi / reach)
    rng = np.random.default_rng(0)
    angle, height, depth = rng.uniform([0, -1, 0.9], [2 * np.pi, 1, 1], (count, 3)).T
    about = (angle - image * 2 * np.pi / world.images + np.pi) % (2 * np.pi) - np.pi
    points = np.flatnonzero(np.abs(about) < reach)
    about, height, depth = about[points], height[points], depth[points]
    far = RADIUS - depth * np.cos(about)
    focal = 0.45 * SIZE[0] * (RADIUS - np.cos(reach)) / np.sin(reach)
    tall = 0.45 * SIZE[1] / focal * (RADIUS - 1)
    xy = np.stack([depth * np.sin(about), tall * height], axis=1) * focal / far[:, None]
    noise = np.random.default_rng(image + 1).normal(0, NOISE, xy.shape)
    return points, (xy + np.array(SIZE) / 2 - 0.5 + noise).astype(np.float32)


class InventingMatcher(Matcher):
    """Stands in for the network; counts the seconds of CPU that inventing takes."""

    def __init__(self, world: World):
        self.world, self.seconds = world, 0.0

    def encode(self, image, mask=None, *, name: str = "image") -> EncodedImage:
        """Nothing but the name."""
        return EncodedImage(BLANK, lambda prepared, shrink: None, name)

    def match(self, image0, image1, K0=None, K1=None, *, keypoints0=None) -> Matches:
        """The invented matches, as the network gives them: padded."""
        begun = time.process_time()
        found = self.world.matches((image0.name, image1.name))
        k, room = len(found.confidence), ROOM
        points0, points1 = (np.pad(x, ((0, room - k), (0, 0))) for x in found[:2])
        valid = np.arange(room) < k
        cells = np.where(valid, 0, -1).astype(np.int32)
        matches = Matches(
            keypoints0=points0,
            keypoints1=points1,
            confidence=np.where(valid, np.float32(0.5), np.float32(0)),
            covariance=np.where(valid[:, None, None], np.eye(2) / 4, 0).astype(np.float32),
            scale=valid.astype(np.float32),
            cell0=cells,
            cell1=cells,
            valid=valid,
        )
        self.seconds += time.process_time() - begun
        return matches


def grow_invented(image: int, pairs: Sequence[PairMatches]) -> Tracks:
    """The stars of an image without looking at it: matches of one pair and the next begin at the
    very same points here."""
    own = np.concatenate([pair.own for pair in pairs])
    points, star = np.unique(own.view(np.int64).reshape(-1), return_inverse=True)
    points = points.view(np.float32).reshape(-1, 2)
    images = np.repeat([pair.partner for pair in pairs], [len(pair.own) for pair in pairs])
    seen = np.concatenate([*(pair.others for pair in pairs), points])
    sigma = np.concatenate([np.full(len(own), 0.1), np.zeros(len(points))])
    star = np.concatenate([star.reshape(-1), np.arange(len(points))])
    images = np.concatenate([images, np.full(len(points), image)])
    order = np.lexsort([images, star])
    return Tracks((), star[order], images[order], seen[order], sigma[order])
