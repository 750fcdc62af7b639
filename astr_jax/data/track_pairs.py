"""Training pairs from real scenes: two photographs of one place, and the tracks that both see.

Each photograph is cut out, turned, scaled and perhaps mirrored, both of a pair alike; the cameras
and the points follow exactly. What befalls a picture otherwise is as for homographies.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float

from astr_jax.data import photometry
from astr_jax.data.checks import check_difficulty, check_shares, check_sides
from astr_jax.data.photometry import PhotometricConfig
from astr_jax.data.scenes import Scene
from astr_jax.data.shots import Shot, jacobians, shown
from astr_jax.data.stacking import stacked
from astr_jax.geometry import relative_pose
from astr_jax.supervision import PairBatch, TracksTruth

OVERLAPS = (0.0, 0.2, 0.4, 0.65, 1.01)  # pairs of each range are drawn equally often
TRIES = 8  # of drawing a pair with enough tracks
SEED = 7919  # sets these random numbers apart from those of the other kinds of pairs


@dataclasses.dataclass(frozen=True, kw_only=True)
class TracksConfig:
    """Which pairs are made of scenes."""

    height: int = 240
    width: int = 320
    capacity: int = 512  # tracks of a pair, at most
    least: int = 12  # tracks of a pair; with fewer another one is drawn
    min_zoom: float = 0.8  # against the one at which the photograph just fills the image
    max_zoom: float = 2.0
    easy_scale: float = 1.5  # scale between the images in [1 / this, this], ...
    max_scale: float = 2.5  # ... but of some in [1 / this, this]
    scaled_share: float = 0.33  # of the pairs: beyond easy_scale
    tilt: float = 8.0  # degrees, standard deviation: of each image's turn
    max_rotation: float = 45.0  # degrees between the images' turns, of some
    turned_share: float = 0.2
    max_shift: float = 0.22  # of the track that is looked at from the centre, of the image's sides
    mirror_probability: float = 0.5
    light: PhotometricConfig = dataclasses.field(default_factory=PhotometricConfig)

    def __post_init__(self):
        check_sides(self)
        if not 1 <= self.least <= self.capacity:
            raise ValueError(f"least must be in 1 .. capacity {self.capacity}; got {self.least}.")
        if not 0 < self.min_zoom <= self.max_zoom:
            raise ValueError(
                f"Zooms must obey 0 < min_zoom <= max_zoom; got {self.min_zoom}, {self.max_zoom}."
            )
        if not 1 <= self.easy_scale <= self.max_scale <= 5:
            raise ValueError(
                "Scales must obey 1 <= easy_scale <= max_scale <= 5; "
                f"got {self.easy_scale} and {self.max_scale}."
            )
        check_shares(self, "scaled_share", "turned_share", "mirror_probability")

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width


class TrackPairs:
    """An endless, repeatable list of pairs: pair i depends on (seed, i, difficulty) alone.

    Scenes are drawn by the root of the number of their pairs, then ranges of overlap, then pairs.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        config: TracksConfig,
        seed: int,
        occluders: Sequence[np.ndarray] = (),
    ):
        self.config, self.seed, self.occluders = config, seed, occluders
        self.scenes, self._bins = [], []
        for scene in scenes:
            index, overlap = scene.pairs
            bins = np.digitize(overlap, OVERLAPS)
            if len(index):
                self.scenes.append(scene)
                self._bins.append([index[bins == k] for k in np.unique(bins)])
        if not self.scenes:
            raise ValueError(
                f"Of {len(scenes)} scenes none has two photographs with enough common tracks and "
                "parallax."
            )
        weights = np.sqrt([min(100, sum(map(len, bins))) for bins in self._bins])
        self._weights = weights / weights.sum()

    def __len__(self) -> int:
        """Pairs of photographs to draw from."""
        return sum(len(index) for bins in self._bins for index in bins)

    def pair(self, index: int, difficulty: float) -> PairBatch:
        """Makes pair `index`."""
        rng = np.random.default_rng([self.seed, index, SEED])
        for _ in range(TRIES):
            which = rng.choice(len(self.scenes), p=self._weights)
            bins = self._bins[which]
            pairs = bins[rng.integers(len(bins))]
            i, j = rng.permutation(pairs[rng.integers(len(pairs))]).tolist()
            pair = make_track_pair(
                self.scenes[which], i, j, rng, difficulty, self.config, self.occluders
            )
            if pair.truth.valid.sum() >= self.config.least:
                break
        return pair

    def stack(self, indices: Iterable[int], difficulty: float) -> PairBatch:
        """A batch of pairs."""
        return stacked(self.pair(index, difficulty) for index in indices)


def make_track_pair(
    scene: Scene,
    i: int,
    j: int,
    rng: np.random.Generator,
    difficulty: float,
    config: TracksConfig,
    occluders: Sequence[np.ndarray] = (),
) -> PairBatch:
    """A pair of two photographs of a scene; occluders are photographs to take pieces from."""
    check_difficulty(difficulty)
    at_i, at_j = scene.common(i, j)
    xyz = scene.xyz[scene.rows[i][at_i]]
    shots = [
        Shot(scene.images[n], scene.K[n], scene.cam_from_world[n], scene.keypoints[n][at])
        for n, at in ((i, at_i), (j, at_j))
    ]
    if rng.random() < config.mirror_probability:
        shots, xyz = [shot.mirrored() for shot in shots], xyz * (-1, 1, 1)
    look = int(rng.integers(len(xyz)))
    zooms = _draw_zooms(shots, xyz[look], rng, config)
    turns = np.radians(rng.normal(0, config.tilt, 2))
    if rng.random() < config.turned_share:
        turns[1] += np.radians(config.max_rotation) * rng.uniform(-1, 1)
    sides, strength = np.array(config.size[::-1]), 0.2 + 0.6 * difficulty
    targets = (sides - 1) / 2 + config.max_shift * rng.uniform(-1, 1, (2, 2)) * sides
    taken = [
        shot.taken(look, zoom, turn, target, config.size)
        for shot, zoom, turn, target in zip(shots, zooms, turns, targets, strict=True)
    ]
    (image0, shown0), (image1, shown1) = (
        _picture(shot, visible, rng, strength, config, occluders) for shot, visible in taken
    )
    truth = _truth(taken[0][0], taken[1][0], xyz, shown0 & shown1, rng, config)
    return PairBatch(image0, image1, None, None, truth)


def _draw_zooms(shots, point, rng, config: TracksConfig) -> Float[np.ndarray, "2"]:
    """Pixels of each image per pixel of its photograph, so that the scales spread as wanted."""
    fit = np.array([(np.array(config.size) / shot.image.shape).max() for shot in shots])
    depth = [s.cam_from_world[2, :3] @ point + s.cam_from_world[2, 3] for s in shots]
    focal = [np.sqrt(s.K[0, 0] * s.K[1, 1]) for s in shots]
    as_taken = np.log(fit[1] * focal[1] * depth[0] / (fit[0] * focal[0] * depth[1]))
    easy, most = np.log(config.easy_scale), np.log(config.max_scale)
    wanted = rng.uniform(-easy, easy)
    if rng.random() < config.scaled_share:
        wanted = rng.choice([-1, 1]) * rng.uniform(easy, most)
    low, high = np.log(config.min_zoom), np.log(config.max_zoom)
    middle = rng.uniform(low, high)
    half = (wanted - as_taken) / 2
    # Both zooms within their range: the middle gives way first, then the scale.
    half = np.clip(half, -(high - low) / 2, (high - low) / 2)
    middle = np.clip(middle, low + abs(half), high - abs(half))
    return fit * np.exp([middle - half, middle + half])


def _picture(shot: Shot, visible, rng, strength: float, config: TracksConfig, occluders):
    """The image after all that befalls a picture, and which points it shows."""
    image = photometry.surrounded(shot.image, visible, rng, occluders)
    image, visible = photometry.taken(image, visible, rng, strength, config.light, occluders)
    return image, shown(shot.points, visible)


def _truth(shot0: Shot, shot1: Shot, xyz, visible, rng, config: TracksConfig) -> TracksTruth:
    """The truth of the points that both images show; of too many, some at random."""
    shots = shot0, shot1
    at = [xyz @ s.cam_from_world[:3, :3].T + s.cam_from_world[:3, 3] for s in shots]
    focal0, focal1 = (np.sqrt(s.K[0, 0] * s.K[1, 1]) for s in shots)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = at[0][:, 2] * focal1 / (at[1][:, 2] * focal0)
    jacobian = jacobians(shot0, shot1, xyz)
    size = np.linalg.norm(jacobian, axis=(1, 2))
    good = visible & (at[0][:, 2] > 0) & (at[1][:, 2] > 0)
    good &= (ratio > 0.1) & (ratio < 10) & (size > 0.1) & (size < 15)
    chosen = rng.permutation(np.flatnonzero(good))[: config.capacity]
    empty = config.capacity - len(chosen)

    def filled(x, fill):
        rest = np.broadcast_to(np.asarray(fill, np.float32), (empty, *x.shape[1:]))
        return np.concatenate([x[chosen].astype(np.float32), rest])

    pose = relative_pose(shot0.cam_from_world, shot1.cam_from_world)
    pose[:3, 3] /= max(np.linalg.norm(pose[:3, 3]), 1e-12)
    return TracksTruth(
        points0=filled(shot0.points, 0.0),
        points1=filled(shot1.points, 0.0),
        ratio=filled(ratio, 1.0),
        jacobian=filled(jacobian, np.eye(2)),
        valid=np.arange(config.capacity) < len(chosen),
        K0=shot0.K.astype(np.float32),
        K1=shot1.K.astype(np.float32),
        cam1_from_cam0=pose.astype(np.float32),
        size0=config.size,
        size1=config.size,
    )
