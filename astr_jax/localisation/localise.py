"""From queries to their poses, stage by stage; each goes on where it was stopped.

    DIR/database.safetensors, queries.safetensors   descriptors, for retrieval (similar.py)
    DIR/matches/*.safetensors                       points of the model in a query, one file each
    DIR/poses.txt, poses.json, sparse/              the poses (results.py), made anew at each call

What costs time is kept with a stamp of what it was made from. Poses cost milliseconds.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from astr_jax.images import to_stored
from astr_jax.localisation.correspondences import (
    Correspondences,
    joined,
    points_in_query,
    read_correspondences,
    surest_of_each,
    write_correspondences,
)
from astr_jax.localisation.poses import Pose, estimate_pose
from astr_jax.localisation.scene import Scene, View
from astr_jax.matching import EncodedImages, Matcher
from astr_jax.reconstruction.bulk import KEEP
from astr_jax.reconstruction.database import HALF
from astr_jax.reconstruction.photos import Photo
from astr_jax.reconstruction.pipeline import stamp_of

if TYPE_CHECKING:
    import pycolmap

MOST_VIEWS = 10  # database images that a query is matched with
MAX_ERROR = 3.0  # of an inlier, pixels of the query at the size that it was matched at

Find = Callable[[View, int, Photo], Correspondences]


@dataclasses.dataclass(frozen=True)
class Localised:
    """What became of a query."""

    photo: Photo
    camera: "pycolmap.Camera"
    found: Correspondences  # one row for each point
    pose: Pose | None
    views: tuple[str, ...]  # database images that it was matched with


def finder(matcher: Matcher, *, keep: int = KEEP) -> Find:
    """find(view, number, query): what the matcher finds of a view in a query. keep: images that
    stay encoded in memory."""
    images = EncodedImages(matcher.encode, keep)

    def find(view: View, number: int, query: Photo) -> Correspondences:
        encoded, other = (images.get(photo.path, photo.name) for photo in (view.photo, query))
        return points_in_query(matcher, view, number, encoded, other)

    return find


def match_queries(
    find: Find,
    scene: Scene,
    queries: Sequence[Photo],
    similar: Int[np.ndarray, "q v"] | Sequence[Sequence[int]],
    folder: pathlib.Path,
    *,
    settings: object,
    on_query: Callable[[int], None] = lambda count: None,
) -> tuple[Correspondences, ...]:
    """The points of the model that each query shows, read where they are there already.

    similar: of each query the numbers of the views that it is matched with. settings: what `find`
    depends on, fit for JSON. on_query hears of each query that is done, and of how many views.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    for query, views in zip(queries, similar, strict=True):
        digest = hashlib.sha256(query.path.read_bytes()).hexdigest()
        stamp = stamp_of("localise 1", settings, scene.digest, digest, np.asarray(views).tolist())
        file = folder / f"{hashlib.sha256(query.name.encode()).hexdigest()[:16]}.safetensors"
        found = read_correspondences(file, stamp=stamp)
        if found is None:
            found = joined([find(scene.views[view], int(view), query) for view in views])
            write_correspondences(file, found, name=query.name, stamp=stamp)
        results.append(found)
        on_query(len(views))
    return tuple(results)


def localise(
    query: Photo,
    camera: "pycolmap.Camera",
    found: Correspondences,
    scene: Scene,
    *,
    views: Int[np.ndarray, " v"] | Sequence[int],
    resize: int,
    max_error: float = MAX_ERROR,
    seed: int = 0,
) -> Localised:
    """The pose of one query from the points that it shows. max_error: pixels of the query when its
    long side is `resize` at most."""
    found = surest_of_each(found)
    scale = max(1.0, max(query.stored_shape) / resize)
    pose = estimate_pose(
        colmap_pixels(found, query),
        scene.positions(found.point_ids),
        camera,
        max_error=max_error * scale,
        seed=seed,
    )
    return Localised(
        query, camera, found, pose, tuple(scene.views[view].photo.name for view in views)
    )


def colmap_pixels(found: Correspondences, query: Photo) -> np.ndarray:
    """Where they lie in COLMAP's pixels of the file as stored, [k 2]."""
    return to_stored(found.points, query.orientation, query.stored_shape) + HALF
