"""Training pairs of lifted photographs: one photograph made a scene, seen by two cameras.

Image 0 is a cut-out of the photograph itself, image 1 what a second camera sees of the scene, or
the other way round. Textures are a photograph's own, depths are drawn. The truth says which plane
each pixel shows, and how each plane moves.
"""

import dataclasses
from collections.abc import Sequence
from typing import no_type_check

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from astr_jax.data import photometry
from astr_jax.data.checks import check_difficulty, check_shares, check_sides
from astr_jax.data.lifted.layers import Layers, LayersConfig, draw_layers
from astr_jax.data.lifted.render import paint, see
from astr_jax.data.lifted.views import first_view, plane_views, second_camera
from astr_jax.data.photometry import PhotometricConfig
from astr_jax.data.stacking import PhotoPairs
from astr_jax.geometry import warp_points
from astr_jax.images import check_photo
from astr_jax.supervision import NOTHING, LayersTruth, PairBatch

SEED = 6007  # sets these random numbers apart from those of the other kinds of pairs
TRIES = 8  # of cameras for a scene, each milder
COARSE = 8  # pixels, every so many of which overlap is measured
LEAST_SIDE = 32  # pixels of a photograph


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiftedConfig:
    """Which pairs are made. Ranges are those of difficulty 1; at 0 they are a third as wide."""

    height: int = 240
    width: int = 320
    layers: LayersConfig = dataclasses.field(default_factory=LayersConfig)
    max_view_angle: float = 40.0  # degrees round the point that the second camera looks at
    max_rotation: float = 45.0  # degrees about its axis, of some
    max_approach: float = 2.0  # times: nearer to that point, or further from it
    max_shift: float = 0.4  # of that point from the middle of image 0, of its sides
    max_zoom: float = 1.8  # of image 0, against the one at which it just fits the photograph
    min_overlap: float = 0.35  # share of the second camera's image that lies within the other one
    mirror_probability: float = 0.5
    light: PhotometricConfig = dataclasses.field(default_factory=PhotometricConfig)

    def __post_init__(self):
        check_sides(self)
        if not 0 <= self.max_view_angle <= 80 or not 0 <= self.max_rotation <= 180:
            raise ValueError(
                "max_view_angle must be in 0 .. 80 degrees, max_rotation in 0 .. 180; "
                f"got {self.max_view_angle} and {self.max_rotation}."
            )
        if min(self.max_approach, self.max_zoom) < 1:
            raise ValueError(
                "max_approach and max_zoom are factors, at least 1; "
                f"got {self.max_approach} and {self.max_zoom}."
            )
        check_shares(self, "min_overlap", "mirror_probability", "max_shift")

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width


@no_type_check
def make_lifted_pair(
    photo: UInt8[np.ndarray, "h w"],
    rng: np.random.Generator,
    difficulty: float,
    config: LiftedConfig,
    others: Sequence[np.ndarray] = (),
) -> PairBatch:
    """Makes one pair from a photograph; others are photographs to take foreign pieces from."""
    check_photo(photo, "a photograph", least=LEAST_SIDE)
    check_difficulty(difficulty)
    if rng.random() < config.mirror_probability:
        photo = cv2.flip(photo, 1)
    strength = (1 + 2 * difficulty) / 3
    layers = draw_layers(photo, rng, strength, config.layers, others)
    view0, camera1, views = draw_views(layers, rng, strength, config)
    sides = [cut_out(layers, view0, config.size)]
    seen = see(layers, *views, camera1, config.size)
    behind = photometry.filling(config.size, rng, others) if rng.random() < 0.5 else None
    sides.append((paint(layers, seen, behind), seen.layer))
    homographies = views[0] @ np.linalg.inv(view0)
    if rng.random() < 0.5:
        sides, homographies = sides[::-1], np.linalg.inv(homographies)
    (image0, layer0), (image1, layer1) = (
        _taken(image, layer, rng, 0.3 + 0.7 * difficulty, config, others) for image, layer in sides
    )
    moves = np.tile(np.eye(3, dtype=np.float32), (config.layers.capacity, 1, 1))
    moves[: len(homographies)] = homographies
    return PairBatch(image0, image1, None, None, LayersTruth(moves, layer0, layer1))


def draw_views(layers: Layers, rng, strength: float, config: LiftedConfig):
    """Image 0 from the photograph, a second camera's K, and what it sees of the planes; drawn
    again, each time milder, until both images share enough."""
    for ease in strength * np.linspace(1.0, 0.0, TRIES):
        roll = np.radians(config.max_rotation) / 3
        view0 = first_view(layers.photo.shape, config.size, rng, ease, config.max_zoom, roll)
        K1, pose = second_camera(layers, view0, config.size, rng, ease, config)
        views = plane_views(layers, K1, pose)
        if overlap(layers, view0, views, K1, config.size) >= config.min_overlap:
            break
    return view0, K1, views


def overlap(layers: Layers, view0, views, K1, size) -> float:
    """The share of image 1 that lies within image 0, measured at every so many pixels."""
    seen = see(layers, *views, K1, size, COARSE)
    shown = seen.layer != NOTHING
    points = np.stack([seen.x[shown], seen.y[shown]], axis=-1).astype(float)
    x, y = warp_points(view0, points).T
    inside = (x >= 0) & (x <= size[1] - 1) & (y >= 0) & (y <= size[0] - 1)
    return inside.sum() / seen.layer.size


def cut_out(layers: Layers, view0: Float[np.ndarray, "3 3"], size: tuple[int, int]):
    """Image 0 and the plane of each of its pixels."""
    warp = {"M": view0[:2], "dsize": size[::-1]}
    nearest = {"flags": cv2.INTER_NEAREST, "borderValue": NOTHING}
    layer = cv2.warpAffine(layers.whole, **warp, **nearest)
    photo, scale = layers.things, np.sqrt(np.linalg.det(view0[:2, :2]))
    if scale < 0.95:
        photo = cv2.GaussianBlur(photo, (0, 0), 0.45 / scale)
    return cv2.warpAffine(photo, **warp, borderMode=cv2.BORDER_REFLECT_101), layer


def _taken(image, layer, rng, strength, config: LiftedConfig, others):
    """The image after all that befalls a picture, and the planes that it still shows."""
    given = strength, config.light, others
    image, visible = photometry.taken(image, layer != NOTHING, rng, *given)
    return image, np.where(visible, layer, np.uint8(NOTHING))


class LiftedPairs(PhotoPairs):
    """Photographs made scenes, by the numbers of their pairs."""

    def __init__(self, photos: Sequence[np.ndarray], config: LiftedConfig, seed: int):
        super().__init__(make_lifted_pair, photos, config, seed, (SEED,))
