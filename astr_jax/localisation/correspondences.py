"""Points of a model in a query: what database images show of them is found by matching.

Each observed keypoint of a database image is looked for in the query itself, wherever it lies
(`keypoints0`), so that keypoints of any kind will do: SIFT's, ours, those drawn by hand.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import Float, Int

from astr_jax.files import replacing
from astr_jax.localisation.scene import View
from astr_jax.matching import EncodedImage, Matcher

FIELDS = ("points", "point_ids", "sigma", "confidence", "views")


@dataclasses.dataclass(frozen=True)
class Correspondences:
    """Where a query shows points of the model; a point may have several rows, one a view."""

    points: Float[np.ndarray, "k 2"]  # pixels of the upright query as given
    point_ids: Int[np.ndarray, " k"]
    sigma: Float[np.ndarray, " k"]  # standard deviation per axis, pixels
    confidence: Float[np.ndarray, " k"]
    views: Int[np.ndarray, " k"]  # numbers of the database images that they were seen in

    def __len__(self) -> int:
        return len(self.point_ids)

    def __getitem__(self, rows) -> "Correspondences":
        return Correspondences(*(getattr(self, field)[rows] for field in FIELDS))


def joined(parts: Sequence[Correspondences]) -> Correspondences:
    """The rows of all parts, one part after the other."""
    none = Correspondences(
        points=np.zeros((0, 2), np.float32),
        point_ids=np.zeros(0, np.int64),
        sigma=np.zeros(0, np.float32),
        confidence=np.zeros(0, np.float32),
        views=np.zeros(0, np.int32),
    )
    columns = ([getattr(part, field) for part in (none, *parts)] for field in FIELDS)
    return Correspondences(*map(np.concatenate, columns))


def points_in_query(
    matcher: Matcher, view: View, number: int, encoded: EncodedImage, query: EncodedImage
) -> Correspondences:
    """What one database image says of a query. number: of the view; encoded: its image."""
    found = matcher.match(encoded, query, keypoints0=view.points)
    rows = np.flatnonzero(found.valid)
    return Correspondences(
        points=np.asarray(found.keypoints1, np.float32)[rows],
        point_ids=view.point_ids[rows],
        sigma=np.asarray(found.sigma, np.float32)[rows],
        confidence=np.asarray(found.confidence, np.float32)[rows],
        views=np.full(len(rows), number, np.int32),
    )


def surest_of_each(found: Correspondences) -> Correspondences:
    """Of each point the row of the smallest sigma, by the number of the point."""
    order = np.lexsort([found.sigma, found.point_ids])
    _, first = np.unique(found.point_ids[order], return_index=True)
    return found[order[first]]


def write_correspondences(
    file: str | os.PathLike, found: Correspondences, *, name: str, stamp: str
) -> None:
    """Writes what was found in a query, whole or not at all; stamp: what it was made from."""
    arrays = {field: np.ascontiguousarray(getattr(found, field)) for field in FIELDS}
    header = {"name": json.dumps(name, ensure_ascii=False), "stamp": stamp}
    with replacing(file) as beside:
        beside.write_bytes(safetensors.numpy.save(arrays, metadata=header))


def read_correspondences(file: str | os.PathLike, *, stamp: str) -> Correspondences | None:
    """What was found in a query; None where there is no file, or one of another stamp, or damaged:
    it is to be made anew."""
    if not pathlib.Path(file).is_file():
        return None
    try:
        with safetensors.safe_open(file, framework="numpy") as opened:
            if opened.metadata()["stamp"] != stamp:
                return None
            return Correspondences(*(opened.get_tensor(field) for field in FIELDS))
    except (safetensors.SafetensorError, KeyError, TypeError):
        return None
