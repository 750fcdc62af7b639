"""Images held out of a COLMAP model and localised in what is left of it, beside SIFT."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from astr_jax.evaluation.matchers.classic import sift_features, sift_matches
from astr_jax.evaluation.scores.metrics import rotation_error
from astr_jax.images import read_image
from astr_jax.localisation.correspondences import Correspondences
from astr_jax.localisation.localise import Find, Localised
from astr_jax.localisation.scene import Scene, View
from astr_jax.reconstruction.photos import Photo

if TYPE_CHECKING:
    import pycolmap

WITHIN = ((0.5, 0.5), (1.0, 1.0), (2.0, 2.0))  # percent of the depth, degrees
SNAP = 2.0  # pixels: a SIFT keypoint so near to an observed one of the model shows its point


def hold_out(model: "pycolmap.Reconstruction", every: int) -> dict[str, Float[np.ndarray, "4 4"]]:
    """Takes every so many-th image, by name, out of a model, in place, and returns cam_from_world
    of each. Points stay where they are, as long as two images show them."""
    images = sorted((i for i in model.images.values() if i.has_pose), key=lambda i: i.name)
    held = images[:: max(1, every)]
    if every < 2 or len(images) - len(held) < 2:
        raise ValueError(
            f"every must be at least 2, and leave two of the {len(images)} images; got {every}."
        )
    poses = {i.name: np.vstack([i.cam_from_world().matrix(), [0, 0, 0, 1]]) for i in held}
    for frame in {image.frame_id for image in held}:
        model.deregister_frame(frame)
    return poses


def sift_finder() -> Find:
    """find(view, number, query) by OpenCV's SIFT: what is matched within SNAP of an observed
    keypoint of the model shows its point."""

    @functools.lru_cache(64)
    def features(path):
        return sift_features(np.asarray(read_image(path, str(path)).convert("L")))

    def find(view: View, number: int, query: Photo) -> Correspondences:
        both = features(view.photo.path), features(query.path)
        points, others = (x[0] for x in both)
        index0, index1, confidence = sift_matches(*(x[1] for x in both))
        away, nearest = KDTree(view.points).query(points[index0].reshape(-1, 2))
        near = away <= SNAP
        index1, nearest, confidence = index1[near], nearest[near], confidence[near]
        return Correspondences(
            points=others[index1].reshape(-1, 2).astype(np.float32),
            point_ids=view.point_ids[nearest],
            sigma=(1.0 + away[near] - confidence).astype(np.float32),  # the surest first
            confidence=confidence.astype(np.float32),
            views=np.full(len(index1), number, np.int32),
        )

    return find


@dataclasses.dataclass(frozen=True)
class HeldOutScore:
    """Errors of the poses of held-out images; infinite where one was not localised."""

    position: Float[np.ndarray, " q"]  # percent of the median depth of the points that it sees
    rotation: Float[np.ndarray, " q"]  # degrees
    sigmas: Float[np.ndarray, " q"]  # the position's error over its own standard deviation

    @property
    def recall(self) -> list[float]:
        """The share within both bounds of each of WITHIN, percent."""
        return [
            100 * float(np.mean((self.position <= far) & (self.rotation <= turn)))
            for far, turn in WITHIN
        ]


def score_held_out(
    localised: Sequence[Localised],
    truth: dict[str, Float[np.ndarray, "4 4"]],
    scene: Scene,
) -> HeldOutScore:
    """Compares poses with those that hold_out took away."""
    rows = []
    for query in localised:
        true = truth[query.photo.name]
        if query.pose is None:
            rows.append((np.inf, np.inf, np.nan))
            continue
        centre = -true[:3, :3].T @ true[:3, 3]
        away = float(np.linalg.norm(query.pose.centre - centre))
        xyz = scene.positions(query.found.point_ids[query.pose.inliers])
        depths = (xyz @ true[:3, :3].T + true[:3, 3])[:, 2]
        turn = rotation_error(query.pose.cam_from_world[:3, :3], true[:3, :3])
        rows.append((100 * away / np.median(depths), turn, away / query.pose.sigma_position))
    return HeldOutScore(*np.array(rows, float).reshape(-1, 3).T)
