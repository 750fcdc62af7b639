"""A photograph as a scene: which pixel lies on which plane, and how the things among them move.

A plane is q [3], in the camera that took the photograph: its point on the ray r = (x, y, 1) has
inverse depth q . r. So where planes of a layout meet is where their inverse depths are equal.
"""

import dataclasses
import functools
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from astr_jax.data import photometry
from astr_jax.data.checks import check_shares
from astr_jax.supervision import NOTHING

LEAST_INVERSE_DEPTH = 0.05  # of a layout's planes, whose nearest point is about 1
COARSE = 4  # photograph's pixels of a pixel in which regions are found


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayersConfig:
    """Which scenes photographs become."""

    regions: int = 12  # into which a photograph is parted, at most
    lifted_share: float = 0.45  # of the regions: on planes of their own, before the layout
    nearer: float = 1.8  # times, at most, a lifted region is than what it was
    objects: int = 3  # pieces of other photographs, at most, with a motion of their own
    object_probability: float = 0.6
    object_share: float = 0.12  # of the photograph's area, at most, each
    object_shift: float = 0.25  # of its depth, at most
    object_turn: float = 30.0  # degrees, at most

    def __post_init__(self):
        if not 1 <= self.regions <= 64 or not 0 <= self.objects <= 16:
            raise ValueError(
                "regions must be in 1 .. 64, and objects in 0 .. 16; "
                f"got {self.regions} and {self.objects}."
            )
        if not self.nearer >= 1:
            raise ValueError(f"nearer is a factor, at least 1; got {self.nearer}.")
        check_shares(self, "lifted_share", "object_probability", "object_share", "object_shift")

    @property
    def capacity(self) -> int:
        """Planes of a scene, at most."""
        return LAYOUT_PLANES + self.regions + self.objects


@dataclasses.dataclass(frozen=True)
class Layers:
    """A photograph whose pixels lie on planes, and things before it."""

    photo: UInt8[np.ndarray, "h w"]
    layer: UInt8[np.ndarray, "h w"]  # the plane of each pixel, behind the things
    things: UInt8[np.ndarray, "h w"]  # the photograph with the things before it
    thing: UInt8[np.ndarray, "h w"]  # the plane of each pixel of theirs; NOTHING elsewhere
    planes: Float[np.ndarray, "k 3"]
    first_thing: int  # planes from here on are those of things
    motions: Float[np.ndarray, "k 4 4"]  # of their own, between both images; of most: none
    K: Float[np.ndarray, "3 3"]

    @property
    def whole(self) -> UInt8[np.ndarray, "h w"]:
        """The plane that each pixel shows."""
        return np.where(self.thing == NOTHING, self.layer, self.thing)

    @functools.cached_property
    def boxes(self) -> Int[np.ndarray, "k 4"]:
        """About the pixels of each plane: x, y, width and height; zeros where it has none."""
        masks = (
            self.layer if k < self.first_thing else self.thing for k in range(len(self.planes))
        )
        return np.array([cv2.boundingRect(cv2.inRange(m, k, k)) for k, m in enumerate(masks)])


def draw_layers(
    photo: UInt8[np.ndarray, "h w"],
    rng: np.random.Generator,
    strength: float,
    config: LayersConfig,
    others: Sequence[np.ndarray] = (),
) -> Layers:
    """Draws a scene for a photograph. others: photographs to take things from; strength in [0, 1]:
    how far depths and motions reach."""
    height, width = photo.shape
    K = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1.0]])
    K[0, 0] = K[1, 1] = rng.uniform(0.7, 1.4) * max(photo.shape)
    rays = rays_of(photo.shape, K, COARSE)
    planes, layer = draw_layout(rays, rng)
    layer, planes = lifted(photo, layer, planes, rays, rng, strength, config)
    layer = cv2.medianBlur(cv2.resize(layer, (width, height), interpolation=cv2.INTER_NEAREST), 5)
    first_thing, motions = len(planes), [np.eye(4)] * len(planes)
    things, thing = photo, np.full(photo.shape, NOTHING, np.uint8)
    if config.objects and rng.random() < config.object_probability:
        things = photo.copy()
        for _ in range(rng.integers(1, config.objects + 1)):
            share = config.object_share * rng.uniform(0.1, 1)
            outline = photometry.blob(photo.shape, share, rng)
            at = np.clip(outline.mean(axis=0).astype(int), 0, (width - 1, height - 1))
            ray = np.append((at - K[:2, 2]) / K[0, 0], 1)
            behind = planes[layer[at[1], at[0]]] @ ray
            mask = cv2.fillPoly(np.zeros_like(thing), [outline], 255)
            filling = photometry.filling(photo.shape, rng, others)
            things = cv2.copyTo(filling, mask, things)
            thing[mask > 0] = len(planes)
            plane = tilted(behind * rng.uniform(1.05, 1.6), ray, rng, 0.5)
            planes = np.vstack([planes, plane])
            motions.append(draw_motion(ray / (plane @ ray), rng, strength, config))
    return Layers(photo, layer, things, thing, planes, first_thing, np.array(motions), K)


def rays_of(size: tuple[int, int], K, step: int) -> Float[np.ndarray, "h w 3"]:
    """The rays of the middles of squares of so many pixels."""
    y, x = np.mgrid[: -(-size[0] // step), : -(-size[1] // step)] * float(step) + (step - 1) / 2
    return np.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], np.ones_like(x)], axis=-1)


LAYOUT_PLANES = 4  # of a layout, at most


def draw_layout(rays, rng) -> tuple[Float[np.ndarray, "k 3"], UInt8[np.ndarray, "h w"]]:
    """Planes that meet without a gap, and which one each ray meets: a ground before a wall, a room,
    the corner of a building on its ground, or one slanted plane."""
    wall = rng.uniform(0.3, 0.7)  # inverse depth straight ahead
    ground = np.array([rng.normal(0, 0.1), 1 / rng.uniform(0.3, 0.9), -rng.uniform(0, 0.4)])
    lean = [rng.normal(0, 0.3), rng.normal(0, 0.15)]
    kind = rng.choice(["ground", "room", "corner", "plane"], p=[0.3, 0.2, 0.25, 0.25])
    if kind == "plane":
        planes = np.array([[*(2 * np.array(lean)), wall]])
    elif kind == "ground":
        planes = np.array([[*lean, wall], ground])
    elif kind == "room":
        left, right = -1 / rng.uniform(0.4, 1.2), 1 / rng.uniform(0.4, 1.2)
        planes = np.array([[*lean, wall], ground, [left, 0, 0], [right, 0, 0]])
    else:
        a, b = rng.uniform(0.3, 1.2, 2)
        at = rng.uniform(-0.3, 0.3)  # the ray's x of the corner
        planes = np.array([[a, lean[1], wall - a * at], [-b, lean[1], wall + b * at], ground])
    inverse = rays @ planes.T
    if kind == "corner":  # the further of both walls, as a corner stands out; the ground before it
        walls = inverse[..., :2]
        layer = np.where(inverse[..., 2] > walls.min(axis=-1), 2, walls.argmin(axis=-1))
    else:
        layer = inverse.argmax(axis=-1)
    seen = np.take_along_axis(inverse, layer[..., None], axis=-1)
    if seen.min() < LEAST_INVERSE_DEPTH:  # a plane that leans away beyond its horizon
        return np.array([[0, 0, wall]]), np.zeros(layer.shape, np.uint8)
    return planes, layer.astype(np.uint8)


def lifted(photo, layer, planes, rays, rng, strength: float, config: LayersConfig):
    """Parts the photograph into regions, by place and brightness, and lifts some of them off the
    layout onto planes of their own. Returns layers and planes."""
    count = int(rng.integers(1, config.regions + 1))
    small = cv2.resize(photo, layer.shape[::-1], interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 2) / 255.0
    height, width = layer.shape
    rows, columns = rng.integers(0, height, count), rng.integers(0, width, count)
    weight = rng.uniform(0.5, 3.0)  # of brightness against place
    features = np.concatenate([rays[..., :2], weight * small[..., None]], axis=-1)
    features = features.astype(np.float32)
    seeds = features[rows, columns]
    distance = (features**2).sum(axis=-1)[..., None] - 2 * features @ seeds.T
    region = (distance + (seeds**2).sum(axis=-1)).argmin(axis=-1)
    layer, planes = layer.copy(), list(planes)
    for k in range(count):
        if rng.random() >= config.lifted_share:
            continue
        ray = rays[rows[k], columns[k]]
        nearer = 1 + strength * (config.nearer - 1) * rng.random()
        plane = tilted(planes[layer[rows[k], columns[k]]] @ ray * nearer, ray, rng, 0.4 * strength)
        mine = region == k
        if (rays[mine] @ plane).min(initial=np.inf) > LEAST_INVERSE_DEPTH:
            layer[mine] = len(planes)
            planes.append(plane)
    return layer, np.array(planes)


def tilted(inverse_depth: float, ray, rng, most: float) -> Float[np.ndarray, "3"]:
    """A plane through the point of that inverse depth on a ray, tilted at random."""
    slope = most * inverse_depth * rng.normal(size=2)
    return np.append(slope, inverse_depth - slope @ ray[:2])


def draw_motion(centre, rng, strength: float, config: LayersConfig) -> Float[np.ndarray, "4 4"]:
    """How a thing about a centre moves between both images: a turn about it, mostly in the image,
    and a shift."""
    turn = np.radians(config.object_turn) * strength * rng.uniform(-1, 1, 3) * (0.5, 0.5, 1)
    motion = np.eye(4)
    motion[:3, :3] = cv2.Rodrigues(turn)[0]
    shift = config.object_shift * strength * centre[2] * rng.uniform(-1, 1, 3)
    motion[:3, 3] = centre - motion[:3, :3] @ centre + shift
    return motion
