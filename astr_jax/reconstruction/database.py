"""Tracks as a COLMAP database: keypoints, matches, cameras by EXIF; then geometric verification.

Every observation of a track is a keypoint of its image, and every two observations of a track are a
match of their images, whether these were matched with each other or not. COLMAP's pixels are those
of the file as stored, and their centres lie half a pixel further: both are minded here alone.
"""

import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import pycolmap
from jaxtyping import Float, Int

from astr_jax.files import replacing
from astr_jax.images import to_stored
from astr_jax.reconstruction.photos import Photo
from astr_jax.reconstruction.tracks import Tracks

HALF = 0.5  # pixels: COLMAP's coordinates are so much more than ours
CAMERAS = {  # which photographs share a camera
    "auto": pycolmap.CameraMode.AUTO,
    "single": pycolmap.CameraMode.SINGLE,
    "per-folder": pycolmap.CameraMode.PER_FOLDER,
    "per-image": pycolmap.CameraMode.PER_IMAGE,
}
CAMERA_MODELS = ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "OPENCV_FISHEYE")


def write_database(
    file: str | os.PathLike,
    folder: str | os.PathLike,
    photos: Sequence[Photo],
    tracks: Tracks,
    *,
    camera: str = "auto",
    camera_model: str = "SIMPLE_RADIAL",
    seed: int = 0,
    verified: bool = True,
) -> int:
    """Writes a verified database, whole or not at all; returns the number of verified pairs.

    folder: that the names of the photographs stand in. camera: a key of CAMERAS; "single" is one
    for each size of photographs. camera_model: of COLMAP, whose first focal length comes from EXIF
    or is 1.2 times the long side. verified: False leaves that to verify_database.
    """
    file = pathlib.Path(file)
    options = pycolmap.ImageReaderOptions()
    options.camera_model = camera_model
    with replacing(file) as beside:
        beside.unlink(missing_ok=True)
        pycolmap.Database.open(beside).close()
        for names in _sharing(photos, camera):
            pycolmap.import_images(
                beside, folder, camera_mode=CAMERAS[camera], image_names=names, options=options
            )
        database = pycolmap.Database.open(beside)
        try:
            ids = {image.name: image.image_id for image in database.read_all_images()}
            missing = [photo.name for photo in photos if photo.name not in ids]
            if missing:
                raise ValueError(f"pycolmap cannot read {len(missing)} photographs: {missing[0]}.")
            _write_tracks(database, ids, photos, tracks)
        finally:
            database.close()
        return verify_database(beside, seed=seed) if verified else 0


def verify_database(file: str | os.PathLike, *, seed: int = 0) -> int:
    """Finds the two-view geometry of each pair in place; returns the number of verified pairs."""
    two_view = pycolmap.TwoViewGeometryOptions()
    two_view.ransac.random_seed = seed
    pycolmap.geometric_verification(file, two_view_geometry_options=two_view)
    database = pycolmap.Database.open(file)
    try:
        return database.num_verified_image_pairs()
    finally:
        database.close()


def _sharing(photos: Sequence[Photo], camera: str) -> list[list[str]]:
    """Names by what COLMAP must import together: "single" is one camera for each size."""
    groups: dict[tuple[int, int] | None, list[str]] = {}
    for photo in photos:
        groups.setdefault(photo.stored_shape if camera == "single" else None, []).append(photo.name)
    return list(groups.values())


def _write_tracks(database, ids: dict[str, int], photos: Sequence[Photo], tracks: Tracks) -> None:
    photos = {photo.name: photo for photo in photos}
    for image, name in enumerate(tracks.names):
        points = tracks.points[tracks.image == image]
        database.write_keypoints(ids[name], colmap_points(points, photos[name]))
    for (image0, image1), rows in pair_matches(tracks):
        pair = ids[tracks.names[image0]], ids[tracks.names[image1]]
        database.write_matches(*pair, rows.astype(np.uint32))


def colmap_points(points: Float[np.ndarray, "k 2"], photo: Photo) -> Float[np.ndarray, "k 2"]:
    """Points of the upright image in COLMAP's pixels of its file."""
    stored = to_stored(points, photo.orientation, photo.stored_shape)
    return (stored + HALF).astype(np.float32)


def pair_matches(tracks: Tracks) -> Iterator[tuple[tuple[int, int], Int[np.ndarray, "k 2"]]]:
    """Each pair of images that share tracks, and the numbers of the keypoints that they share: a
    keypoint's number is the place of its observation among those of its image."""
    count, found = len(tracks.names), {}
    order = np.argsort(tracks.image, kind="stable")
    starts = np.searchsorted(tracks.image[order], np.arange(count))
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order)) - starts[tracks.image[order]]
    for apart in range(1, count):
        first = np.flatnonzero(tracks.track[:-apart] == tracks.track[apart:])
        if not len(first):
            break
        key = tracks.image[first].astype(np.int64) * count + tracks.image[first + apart]
        by_pair = np.argsort(key, kind="stable")
        pairs, begin = np.unique(key[by_pair], return_index=True)
        for pair, rows in zip(pairs, np.split(first[by_pair], begin[1:]), strict=True):
            shared = np.stack([number[rows], number[rows + apart]], axis=1)
            found.setdefault(divmod(int(pair), count), []).append(shared)
    for pair in sorted(found):
        yield pair, np.concatenate(found[pair])
