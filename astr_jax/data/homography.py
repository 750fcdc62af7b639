"""Training pairs made from one photograph: two virtual cameras look at it, lying in a plane.

The ground truth is the homography between the two images and what of each image is visible.
"""

import dataclasses
from collections.abc import Sequence
from typing import no_type_check

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from astr_jax.data import cameras, photometry, sky
from astr_jax.data.checks import check_difficulty, check_shares, check_sides
from astr_jax.data.photometry import PhotometricConfig
from astr_jax.data.stacking import PhotoPairs
from astr_jax.images import check_photo
from astr_jax.supervision import PairBatch, PlaneTruth

LEAST_SIDE = 16  # pixels of a photograph


@dataclasses.dataclass(frozen=True, kw_only=True)
class HomographyConfig:
    """Which pairs are made. Difficulty 0 uses the easy ranges, difficulty 1 the full ones."""

    height: int = 240
    width: int = 320
    max_view_angle: float = 60.0  # degrees between the two viewing directions
    max_rotation: float = 45.0  # degrees about the optical axis, image 0 to image 1
    min_scale: float = 0.4  # of image 1 against image 0, where the cameras look
    max_scale: float = 2.5
    easy_view_angle: float = 10.0
    easy_rotation: float = 10.0
    easy_scale: float = 1.25  # scale in [1 / this, this] at difficulty 0
    max_shift: float = 0.5  # between the points looked at, in lengths of the larger footprint
    min_zoom: float = 1.0  # mean zoom, against the one at which the image just fits the photograph
    max_zoom: float = 1.8
    min_overlap: float = 0.3  # share of the closer image that both see; a third of it in the other
    max_depth_range: float = 5.0  # farthest / nearest depth in an image
    mirror_probability: float = 0.5  # of the photograph, before both views
    cloud_probability: float = 0.0  # of drifting clouds in its sky, where it has one
    skyline_probability: float = 0.0  # of such a sky above a drawn line, where it has none
    light: PhotometricConfig = dataclasses.field(default_factory=PhotometricConfig)

    def __post_init__(self):
        check_sides(self)
        if not 0 <= self.easy_view_angle <= self.max_view_angle <= 80:
            raise ValueError(
                "View angles are degrees with 0 <= easy_view_angle <= max_view_angle <= 80; "
                f"got {self.easy_view_angle} and {self.max_view_angle}."
            )
        if not 0 <= self.easy_rotation <= self.max_rotation <= 180:
            raise ValueError(
                "Rotations are degrees with 0 <= easy_rotation <= max_rotation <= 180; "
                f"got {self.easy_rotation} and {self.max_rotation}."
            )
        easy = self.easy_scale
        if not 0.2 <= self.min_scale <= 1 / easy <= easy <= self.max_scale <= 5:
            raise ValueError(
                "Scales must obey 0.2 <= min_scale <= 1 / easy_scale <= easy_scale <= max_scale "
                f"<= 5; got {self.min_scale}, {easy} and {self.max_scale}."
            )
        if not 0.5 <= self.min_zoom <= self.max_zoom:
            raise ValueError(
                "Zooms must obey 0.5 <= min_zoom <= max_zoom; "
                f"got {self.min_zoom} and {self.max_zoom}."
            )
        highest = 0.6 * min(1.0, self.min_zoom) ** 2
        if not 0 < self.min_overlap <= highest:
            raise ValueError(
                f"min_overlap must be in (0, {highest:.2f}] with min_zoom {self.min_zoom}, else it "
                f"may not be reached; got {self.min_overlap}."
            )
        if self.max_depth_range < 1.5:
            raise ValueError(f"max_depth_range must be 1.5 or more; got {self.max_depth_range}.")
        if self.max_shift < 0:
            raise ValueError(f"max_shift must not be negative; got {self.max_shift}.")
        check_shares(self, "mirror_probability", "cloud_probability", "skyline_probability")

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width


def sample_views(
    photo_size: tuple[int, int],
    rng: np.random.Generator,
    difficulty: float,
    config: HomographyConfig,
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3 3"]]:
    """Draws two views of a photograph of size (h, w) that share enough of it.

    Draws again until the overlap holds, each time a little milder, so that it always ends: the
    mildest pair looks straight at the photograph's centre twice.
    """
    for ease in np.linspace(1.0, 0.0, 60):
        views = _draw_views(photo_size, rng, difficulty, ease, config)
        if max(cameras.depth_range(v, config.size) for v in views) > config.max_depth_range:
            continue
        shares = cameras.common_shares(*views, photo_size, config.size)
        if max(shares) >= config.min_overlap and min(shares) >= config.min_overlap / 3:
            return views
    raise ValueError(
        f"No two views of a photograph of size {photo_size} overlap by {config.min_overlap}. "
        "Use larger photographs, or a lower min_overlap."
    )


def _draw_views(photo_size, rng, difficulty, ease, config):
    """Draws two views; ease in [0, 1] scales all that sets them apart."""

    def reach(easy, full):
        return ease * (easy + difficulty * (full - easy))

    widest = np.radians(reach(config.easy_view_angle, config.max_view_angle))
    angle = np.arccos(rng.uniform(np.cos(widest), 1))  # every direction is equally likely
    turn = np.radians(reach(config.easy_rotation, config.max_rotation)) * rng.uniform(-1, 1)
    upright = np.radians(reach(config.easy_rotation, config.max_rotation) / 3) * rng.uniform(-1, 1)
    log_easy = np.log(config.easy_scale)
    log_scale = rng.uniform(
        reach(-log_easy, np.log(config.min_scale)), reach(log_easy, np.log(config.max_scale))
    )
    height, width = config.size
    whole = np.array([photo_size[1], photo_size[0]], float)
    fit = max(width / whole[0], height / whole[1])
    zoom = fit * np.exp(rng.uniform(np.log(config.min_zoom), np.log(config.max_zoom)))
    zooms = zoom * np.exp([-log_scale / 2, log_scale / 2])

    seen = np.array([width, height]) / zooms.min()  # the larger footprint, photograph pixels
    room = np.maximum(np.array([width, height]) / zoom - whole, 0.0) * 0.25
    room = np.maximum(room, (whole - np.array([width, height]) / zoom) / 2)
    middle = (whole - 1) / 2 + ease * room * rng.uniform(-1, 1, 2)
    shift = reach(0.3, 1.0) * config.max_shift * seen * rng.uniform(-1, 1, 2)
    axis, share = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.35)  # image 0 is the milder one
    views = [
        cameras.view_from_photo(
            target=tuple(np.clip(middle + side * shift, 0, whole - 1)),
            zoom=zooms[k],
            tilt=tilt,
            tilt_axis=axis,
            roll=roll,
            focal=rng.uniform(0.9, 2.0) * max(config.size),
            size=config.size,
        )
        for k, side, tilt, roll in (
            (0, -0.5, -share * angle, upright),
            (1, 0.5, (1 - share) * angle, upright + turn),
        )
    ]
    return (views[1], views[0]) if rng.random() < 0.5 else (views[0], views[1])


@no_type_check
def make_pair(
    photo: UInt8[np.ndarray, "h w"],
    rng: np.random.Generator,
    difficulty: float,
    config: HomographyConfig,
    occluders: Sequence[np.ndarray] = (),
) -> PairBatch:
    """Makes one pair from a photograph; occluders are photographs to take foreign pieces from.

    The homography is not scaled to H[2, 2] = 1: its third row gives depth 1 / depth 0, so it is
    positive wherever a point is before both cameras. Not visible is what lies beyond the
    photograph's edge, behind an occluder, or in a sky that was put in. A match needs both its ends
    visible and inside the images.
    """
    check_photo(photo, "a photograph", least=LEAST_SIDE)
    check_difficulty(difficulty)
    if rng.random() < config.mirror_probability:
        photo = cv2.flip(photo, 1)
    views = sample_views(photo.shape, rng, difficulty, config)
    strength = 0.3 + 0.7 * difficulty
    photos, still = _with_sky(photo, rng, config)
    image0, visible0 = _take_picture(photos[0], still, views[0], rng, strength, config, occluders)
    image1, visible1 = _take_picture(photos[1], still, views[1], rng, strength, config, occluders)
    homography = views[1] @ np.linalg.inv(views[0])
    truth = PlaneTruth(homography.astype(np.float32), visible0, visible1)
    return PairBatch(image0, image1, None, None, truth)


def _with_sky(photo, rng, config):
    """Returns the photograph for each view, with clouds that drift between them, and a mask of what
    stands still; None where all of it does."""
    found = None
    if config.cloud_probability and rng.random() < config.cloud_probability:
        found = sky.find_sky(photo)
    if found is None or not found.any():
        if not config.skyline_probability or rng.random() >= config.skyline_probability:
            return (photo, photo), None
        found = sky.draw_skyline(photo.shape, rng)
    return sky.with_clouds(photo, found, rng), np.where(found, 0, 255).astype(np.uint8)


def _take_picture(photo, still, view, rng, strength, config, occluders):
    """Returns (image, visible): the view of the photograph, with all that befalls a picture."""
    visible = cameras.inside_photo(view, photo.shape, config.size)
    image = cameras.render(photo, view, config.size)
    image = photometry.surrounded(image, visible, rng, occluders)
    if still is not None:  # after the filling, which the sky is not
        visible &= cameras.render(still, view, config.size) >= 128
    return photometry.taken(image, visible, rng, strength, config.light, occluders)


class HomographyPairs(PhotoPairs):
    """Pairs of two views of a photograph, by their numbers."""

    def __init__(self, photos: Sequence[np.ndarray], config: HomographyConfig, seed: int):
        super().__init__(make_pair, photos, config, seed)
