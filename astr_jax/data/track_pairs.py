"""Training pairs from real scenes: two photographs of one place, and the tracks that both see.

Each photograph is cut out, turned, scaled and perhaps mirrored, both of a pair alike; the cameras
and the points follow exactly. What befalls a picture otherwise is as for homographies.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from astr_jax.data import photometry
from astr_jax.data.photometry import PhotometricConfig
from astr_jax.data.scenes import Scene, camera_centre
from astr_jax.data.stacking import stacked
from astr_jax.geometry import relative_pose, shrunk_intrinsics
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
        if min(self.height, self.width) < 32:
            raise ValueError(f"Images must be at least 32 x 32; got {self.height} x {self.width}.")
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
        for name in ("scaled_share", "turned_share", "mirror_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1]; got {getattr(self, name)}.")

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width


@dataclasses.dataclass(frozen=True)
class _Shot:
    """A photograph with its camera and the points of a pair."""

    image: UInt8[np.ndarray, "h w"]
    K: Float[np.ndarray, "3 3"]
    cam_from_world: Float[np.ndarray, "4 4"]
    points: Float[np.ndarray, "t 2"]

    def mirrored(self) -> "_Shot":
        """As a mirror shows it; of a world that is mirrored likewise."""
        mirror = np.diag([-1.0, 1, 1, 1])
        width, K = self.image.shape[1], self.K.copy()
        K[0, 2] = width - 1 - K[0, 2]
        points = np.stack([width - 1 - self.points[:, 0], self.points[:, 1]], axis=-1)
        pose = mirror @ self.cam_from_world @ mirror
        return _Shot(cv2.flip(self.image, 1), K, pose, points)


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
    if not 0 <= difficulty <= 1:
        raise ValueError(f"difficulty must be in [0, 1]; got {difficulty}.")
    at_i, at_j = scene.common(i, j)
    xyz = scene.xyz[scene.rows[i][at_i]]
    shots = [
        _Shot(scene.images[n], scene.K[n], scene.cam_from_world[n], scene.keypoints[n][at])
        for n, at in ((i, at_i), (j, at_j))
    ]
    if rng.random() < config.mirror_probability:
        shots, xyz = [shot.mirrored() for shot in shots], xyz * (-1, 1, 1)
    look = rng.integers(len(xyz))
    zooms = _draw_zooms(shots, xyz[look], rng, config)
    turns = np.radians(rng.normal(0, config.tilt, 2))
    if rng.random() < config.turned_share:
        turns[1] += np.radians(config.max_rotation) * rng.uniform(-1, 1)
    taken = [
        _take(shot, look, zoom, turn, rng, 0.2 + 0.6 * difficulty, config, occluders)
        for shot, zoom, turn in zip(shots, zooms, turns, strict=True)
    ]
    (image0, shot0, seen0), (image1, shot1, seen1) = taken
    truth = _truth(shot0, shot1, xyz, seen0 & seen1, rng, config)
    return PairBatch(image0, image1, None, None, truth)


def _draw_zooms(shots, point, rng, config: TracksConfig) -> Float[np.ndarray, "2"]:
    """Pixels of each image per pixel of its photograph, so that the scales spread as wanted."""
    fit = np.array(
        [max(a / b for a, b in zip(config.size, s.image.shape, strict=True)) for s in shots]
    )
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


def _take(shot: _Shot, look, zoom, turn, rng, strength, config: TracksConfig, occluders):
    """The image, its shot and which points it shows: a photograph cut, turned and scaled so that a
    point lies near the centre."""
    height, width = config.size
    photo, points, K = shot.image, shot.points, shot.K
    if zoom < 0.95:  # by area first, so that nothing aliases
        small = tuple(max(2, round(side * zoom)) for side in photo.shape)
        scale = photo.shape[1] / small[1], photo.shape[0] / small[0]
        points = (points + 0.5) / scale - 0.5
        K = shrunk_intrinsics(K, scale)
        photo = cv2.resize(photo, small[::-1], interpolation=cv2.INTER_AREA)
        zoom = 1.0
    cosine, sine = zoom * np.cos(turn), zoom * np.sin(turn)
    matrix = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1.0]])
    target = (np.array([width, height]) - 1) / 2
    target += config.max_shift * rng.uniform(-1, 1, 2) * (width, height)
    matrix[:2, 2] = target - matrix[:2, :2] @ points[look]
    image = cv2.warpAffine(
        photo,
        matrix[:2],
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    whole = np.full(photo.shape, 255, np.uint8)
    visible = cv2.warpAffine(whole, matrix[:2], (width, height), flags=cv2.INTER_NEAREST) > 0
    if rng.random() < 0.7 and not visible.all():  # else the photograph goes on, mirrored
        around = photometry.filling(config.size, rng, occluders)
        image = cv2.copyTo(image, visible.view(np.uint8), around)
    image, visible = photometry.occlude(image, visible, rng, strength, config.light, occluders)
    image = photometry.relight(image, rng, strength, config.light)
    image = photometry.retone(image, rng, strength, config.light)
    image = photometry.degrade(image, rng, strength, config.light)
    points = points @ matrix[:2, :2].T + matrix[:2, 2]
    K, turned = upper_triangular(matrix @ K)
    pose = shot.cam_from_world.copy()
    pose[:3] = turned @ pose[:3]
    return image, _Shot(image, K, pose, points), _shown(points, visible)


def upper_triangular(
    camera: Float[np.ndarray, "3 3"],
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3 3"]]:
    """K, of positive focal lengths, and a rotation with camera = K @ rotation."""
    flip = np.eye(3)[::-1]
    q, r = np.linalg.qr((flip @ camera).T)
    K, rotation = flip @ r.T @ flip, flip @ q.T
    signs = np.diag(np.sign(np.diag(K)))
    K, rotation = K @ signs, signs @ rotation
    return K / K[2, 2], rotation


def _shown(points: Float[np.ndarray, "t 2"], visible: Bool[np.ndarray, "h w"]) -> np.ndarray:
    """Whether the pixel nearest to each point is in the image and visible."""
    x, y = np.rint(points).astype(int).T
    inside = (x >= 0) & (x < visible.shape[1]) & (y >= 0) & (y < visible.shape[0])
    return inside & visible[np.where(inside, y, 0), np.where(inside, x, 0)]


def _truth(shot0: _Shot, shot1: _Shot, xyz, shown, rng, config: TracksConfig) -> TracksTruth:
    """The truth of the points that both images show; of too many, some at random."""
    shots = shot0, shot1
    at = [xyz @ s.cam_from_world[:3, :3].T + s.cam_from_world[:3, 3] for s in shots]
    focal0, focal1 = (np.sqrt(s.K[0, 0] * s.K[1, 1]) for s in shots)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = at[0][:, 2] * focal1 / (at[1][:, 2] * focal0)
    jacobian = _jacobians(shot0, shot1, xyz)
    size = np.linalg.norm(jacobian, axis=(1, 2))
    good = shown & (at[0][:, 2] > 0) & (at[1][:, 2] > 0)
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


def _jacobians(shot0: _Shot, shot1: _Shot, xyz) -> Float[np.ndarray, "t 2 2"]:
    """How points of image 1 follow those of image 0 about each point, if its surface faces the
    middle between both cameras."""
    rays = [xyz - camera_centre(shot.cam_from_world) for shot in (shot0, shot1)]
    normal = sum(ray / np.linalg.norm(ray, axis=-1, keepdims=True) for ray in rays)
    pose0 = shot0.cam_from_world
    normal0 = normal @ pose0[:3, :3].T
    pose = relative_pose(pose0, shot1.cam_from_world)
    point0 = xyz @ pose0[:3, :3].T + pose0[:3, 3]
    offset = (normal0 * point0).sum(axis=-1)  # of the plane, normal . X = offset
    plane = pose[:3, :3] + pose[:3, 3][:, None] * normal0[:, None, :] / offset[:, None, None]
    homography = shot1.K @ plane @ np.linalg.inv(shot0.K)
    lifted = point0 @ shot0.K.T
    lifted /= lifted[:, 2:]
    moved = np.einsum("tij,tj->ti", homography, lifted)
    at1 = moved[:, :2] / moved[:, 2:]
    rows = homography[:, :2, :2] - at1[:, :, None] * homography[:, None, 2, :2]
    return rows / moved[:, 2, None, None]
