"""How good a COLMAP model is: the poses between its images, against the truth."""

import dataclasses
import itertools
import json
import os
import pathlib
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from astr_jax.evaluation.scores.metrics import error_auc, rotation_error

if TYPE_CHECKING:
    import pycolmap

THRESHOLDS = (1.0, 3.0, 5.0)  # degrees
FEWEST_SHARED = 30  # points of the true model that make two of its images a pair


@dataclasses.dataclass(frozen=True)
class TruePair:
    """Two images and their relative pose, up to scale."""

    name0: str
    name1: str
    cam1_from_cam0: Float[np.ndarray, "4 4"]


@dataclasses.dataclass(frozen=True)
class ModelScore:
    """What a model is worth."""

    registered: int
    points: int
    track_length: float  # mean
    reprojection: float  # mean error, pixels
    errors: tuple[float, ...]  # of the true pairs, degrees; inf where an image is missing

    @property
    def auc(self) -> list[float]:
        """Of the pose errors at THRESHOLDS, percent."""
        return [100 * area for area in error_auc(self.errors, THRESHOLDS)]


def read_truth(path: str | os.PathLike, names: set[str]) -> list[TruePair]:
    """True poses of pairs of these images: of an index.json of pairs, or of a COLMAP model.

    An index names images by longer paths than a model may: their ends count. Raises ValueError
    where nothing is told of these images.
    """
    path = pathlib.Path(path)
    found = _of_index(path, names) if path.is_file() else _of_model(path, names)
    if not found:
        raise ValueError(f"{path} has no pair of these images; their names must be the same.")
    return found


def _of_index(path: pathlib.Path, names: set[str]) -> list[TruePair]:
    def known(name: str) -> str | None:
        parts = name.split("/")
        ends = ("/".join(parts[n:]) for n in range(len(parts)))
        return next((end for end in ends if end in names), None)

    found = []
    for entry in json.loads(path.read_text(encoding="utf-8")):
        pair = known(entry["image0"]), known(entry["image1"])
        if None not in pair and "T_0to1" in entry:
            found.append(TruePair(*pair, np.array(entry["T_0to1"], float)))
    return found


def _of_model(path: pathlib.Path, names: set[str]) -> list[TruePair]:
    import pycolmap

    images = {i.name: i for i in pycolmap.Reconstruction(str(path)).images.values()}
    there = sorted(names & images.keys())
    seen = {
        name: {p.point3D_id for p in images[name].points2D if p.has_point3D()} for name in there
    }
    return [
        TruePair(a, b, relative_pose(images[a], images[b]))
        for a, b in itertools.combinations(there, 2)
        if len(seen[a] & seen[b]) >= FEWEST_SHARED
    ]


def relative_pose(image0: "pycolmap.Image", image1: "pycolmap.Image") -> Float[np.ndarray, "4 4"]:
    """cam1_from_cam0 of two images of a model."""
    pose = image1.cam_from_world() * image0.cam_from_world().inverse()
    return np.vstack([pose.matrix(), [0, 0, 0, 1]])


def score_model(model: "pycolmap.Reconstruction", truth: list[TruePair]) -> ModelScore:
    """Compares a model with the truth."""
    images = {image.name: image for image in model.images.values() if image.has_pose}
    errors = []
    for pair in truth:
        if pair.name0 not in images or pair.name1 not in images:
            errors.append(float("inf"))
            continue
        found = relative_pose(images[pair.name0], images[pair.name1])
        turn = rotation_error(found[:3, :3], pair.cam1_from_cam0[:3, :3])
        errors.append(max(turn, _angle(found[:3, 3], pair.cam1_from_cam0[:3, 3])))
    return ModelScore(
        registered=len(images),
        points=model.num_points3D(),
        track_length=model.compute_mean_track_length(),
        reprojection=model.compute_mean_reprojection_error(),
        errors=tuple(errors),
    )


def _angle(direction, true_direction) -> float:
    """Between two directions, in degrees; a model knows the sign."""
    cross = np.linalg.norm(np.cross(direction, true_direction))
    return float(np.degrees(np.arctan2(cross, direction @ true_direction)))
