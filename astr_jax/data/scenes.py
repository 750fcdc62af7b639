"""Scenes to train on: photographs with cameras and tracks, in memory.

Read from folders that hold a COLMAP model each, or from one file that travels:

    astr data pack-scenes DIR --out scenes.npz

Photographs are grey, shrunk to a long side, and packed as WebP.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8

from astr_jax.data.photos import (
    LONG_SIDE,
    QUALITY,
    check_packing,
    decode_photos,
    encode_photo,
    read_photo,
    shrunk_photo,
)
from astr_jax.data.readers.bad_files import BadFiles, UnreadableFile
from astr_jax.data.readers.calibration import size_scale
from astr_jax.data.readers.colmap import model_folder
from astr_jax.data.readers.colmap_model import ModelImage, read_images, read_points
from astr_jax.data.readers.overlap import overlap_from_tracks
from astr_jax.files import replacing
from astr_jax.geometry import shrunk_intrinsics, shrunk_points

MAX_REPROJECTION = 1.0  # pixels of the model's pictures: what is further off is no measurement
LEAST_COMMON = 24  # tracks of a pair
LEAST_ANGLE = 1.5  # degrees of parallax, the median over a pair's common tracks
STEP = 1 / 64  # pixel, of packed keypoints
BESIDE_PHOTOS = "scenes/"  # before the names of the arrays, in a file that holds photographs too
ARRAYS = {
    *("names", "images", "webp", "streams", "K", "poses"),
    *("seen", "rows", "keypoints", "points", "xyz"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """Photographs of one place. Pixel centres lie at whole numbers."""

    name: str
    images: tuple[UInt8[np.ndarray, "_ _"], ...]  # grey
    K: Float[np.ndarray, "n 3 3"]
    cam_from_world: Float[np.ndarray, "n 4 4"]
    rows: tuple[Int[np.ndarray, " _"], ...]  # of xyz: the points that each image sees, ascending
    keypoints: tuple[Float[np.ndarray, "_ 2"], ...]  # where it sees them
    xyz: Float[np.ndarray, "m 3"]

    @functools.cached_property
    def pairs(self) -> tuple[Int[np.ndarray, "p 2"], Float[np.ndarray, " p"]]:
        """Pairs i < j with enough common tracks and parallax, and their overlap: the common tracks
        over those of the image with fewer."""
        overlap = overlap_from_tracks(list(self.rows))
        count = np.array([len(rows) for rows in self.rows])
        common = np.rint(overlap * np.minimum(count[:, None], count[None, :]))
        candidates = np.argwhere(np.triu(common >= LEAST_COMMON, k=1)).tolist()
        wanted = [pair for pair in candidates if np.median(self.parallax(*pair)) >= LEAST_ANGLE]
        index = np.array(wanted, int).reshape(-1, 2)
        return index, overlap[index[:, 0], index[:, 1]]

    def only(self, images: Sequence[int]) -> "Scene":
        """The same with these of the images alone; the points stay."""
        images = list(images)
        return dataclasses.replace(
            self,
            images=tuple(self.images[k] for k in images),
            K=self.K[images],
            cam_from_world=self.cam_from_world[images],
            rows=tuple(self.rows[k] for k in images),
            keypoints=tuple(self.keypoints[k] for k in images),
        )

    @functools.cached_property
    def views(self) -> Int[np.ndarray, " m"]:
        """How many images see each point."""
        return np.bincount(np.concatenate(self.rows), minlength=len(self.xyz))

    def common(self, i: int, j: int) -> tuple[Int[np.ndarray, " t"], Int[np.ndarray, " t"]]:
        """Where the points that both images see stand among the points of each."""
        _, at_i, at_j = np.intersect1d(self.rows[i], self.rows[j], return_indices=True)
        return at_i, at_j

    def parallax(self, i: int, j: int) -> Float[np.ndarray, " t"]:
        """The angles, degrees, under which the points that both images see see both cameras."""
        at_i, _ = self.common(i, j)
        points = self.xyz[self.rows[i][at_i]]
        rays = [points - camera_centre(pose) for pose in self.cam_from_world[[i, j]]]
        a, b = (ray / np.linalg.norm(ray, axis=-1, keepdims=True) for ray in rays)
        return np.degrees(np.arccos(np.clip((a * b).sum(axis=-1), -1, 1)))


def camera_centre(cam_from_world: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "3"]:
    """Where a camera stands."""
    return -cam_from_world[:3, :3].T @ cam_from_world[:3, 3]


def read_scene(
    folder: str | os.PathLike, *, long_side: int = LONG_SIDE, bad: BadFiles | None = None
) -> Scene:
    """Reads a folder with a COLMAP model (sparse/0, sparse or itself) and its images/.

    Raises UnreadableFile, also where a picture has not the shape that its camera is calibrated
    for. bad: pictures that cannot be read are noted there and left out, if it skips.
    """
    bad = BadFiles(skip=False) if bad is None else bad
    folder = pathlib.Path(folder)
    model = model_folder(folder)
    points, pictures = read_points(model), []
    for view in read_images(model):
        with bad.skipped():
            image = shrunk_photo(_picture(folder / "images" / view.name, view), long_side)
            pictures.append((image, view))
    return scene_of(folder.name, points, pictures)


def scene_of(
    name: str,
    points: Mapping[int, Sequence[float]],
    pictures: Sequence[tuple[UInt8[np.ndarray, "_ _"], ModelImage]],
) -> Scene:
    """A scene of points by their numbers, and of grey images, each with what the model says of it;
    an image may be smaller than its camera."""
    row_of = {number: row for row, number in enumerate(sorted(points))}
    xyz = np.array([points[number] for number in row_of]).reshape(-1, 3)
    Ks, rows, keypoints = [], [], []
    for image, view in pictures:
        scale = view.size[1] / image.shape[1], view.size[0] / image.shape[0]
        Ks.append(shrunk_intrinsics(view.K, scale))
        seen, at = _measured(view, row_of, xyz)
        rows.append(seen), keypoints.append(shrunk_points(at, scale))
    return Scene(
        name=name,
        images=tuple(image for image, _ in pictures),
        K=np.array(Ks).reshape(-1, 3, 3),
        cam_from_world=np.array([view.cam_from_world for _, view in pictures]).reshape(-1, 4, 4),
        rows=tuple(rows),
        keypoints=tuple(keypoints),
        xyz=xyz,
    )


def read_scenes(
    folder: str | os.PathLike, *, long_side: int = LONG_SIDE, bad: BadFiles | None = None
) -> list[Scene]:
    """All scenes of a folder: each folder in it that holds a model. bad: as in read_scene."""
    return [read_scene(path, long_side=long_side, bad=bad) for path in list_scenes(folder)]


def list_scenes(folder: str | os.PathLike) -> list[pathlib.Path]:
    """The folders in a folder that hold a COLMAP model, sorted by name."""
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"Expected a folder of scenes, but {folder} is not a folder.")
    found = []
    for path in sorted(p for p in folder.iterdir() if p.is_dir()):
        try:
            model_folder(path)
        except UnreadableFile:
            continue
        found.append(path)
    if not found:
        raise FileNotFoundError(
            f"{folder} holds no scene; expected folders with images/ and sparse/ as COLMAP writes "
            "them."
        )
    return found


def pack_scenes(scenes: Sequence[Scene], out: str | os.PathLike, *, quality: int = QUALITY) -> None:
    """Writes scenes into one .npz file: photographs as WebP streams, keypoints in 64ths of a
    pixel."""
    out = check_packing(out, quality, "scenes")
    streams = [encode_photo(image, quality) for scene in scenes for image in scene.images]
    with replacing(out) as beside:
        np.savez_compressed(beside, **packed_scenes(scenes, streams))


def packed_scenes(
    scenes: Sequence[Scene], streams: Sequence[UInt8[np.ndarray, " _"]]
) -> dict[str, np.ndarray]:
    """The arrays of a packed file. streams: the photographs as WebP, scene by scene."""
    rows = [np.diff(rows, prepend=0) for scene in scenes for rows in scene.rows]
    keypoints = [points for scene in scenes for points in scene.keypoints]
    return {
        "names": np.array([scene.name for scene in scenes]),
        "images": np.array([len(scene.images) for scene in scenes]),
        "webp": np.concatenate(streams),
        "streams": np.array([len(stream) for stream in streams]),
        "K": np.concatenate([scene.K for scene in scenes]),
        "poses": np.concatenate([scene.cam_from_world for scene in scenes]),
        "seen": np.array([len(r) for r in rows]),
        "rows": np.concatenate(rows).astype(np.int32),
        "keypoints": np.rint(np.concatenate(keypoints) / STEP).astype(np.int32),
        "points": np.array([len(scene.xyz) for scene in scenes]),
        "xyz": np.concatenate([scene.xyz for scene in scenes]).astype(np.float32),
    }


def unpack_scenes(path: str | os.PathLike) -> list[Scene]:
    """Reads the file that pack_scenes wrote, or the scenes of one that `packing.pack` wrote."""
    with np.load(path, allow_pickle=False) as packed:
        names = packed.files
        prefix = BESIDE_PHOTOS if any(n.startswith(BESIDE_PHOTOS) for n in names) else ""
        if missing := {prefix + name for name in ARRAYS} - set(names):
            raise ValueError(
                f"{path} is not a packed file of scenes: it lacks {sorted(missing)}. "
                "Write one with astr data pack-scenes, or with astr data pack --scenes."
            )
        packed = {name: packed[prefix + name] for name in ARRAYS}
    streams = _split(packed["webp"], packed["streams"])
    owners = np.repeat(packed["names"], packed["images"])
    images = decode_photos(streams, [f"{name} in {path}" for name in owners])
    rows = [np.cumsum(steps) for steps in _split(packed["rows"], packed["seen"])]
    keypoints = _split(packed["keypoints"] * STEP, packed["seen"])
    xyz = _split(packed["xyz"].astype(float), packed["points"])
    scenes, first = [], 0
    for name, count, points in zip(packed["names"], packed["images"], xyz, strict=True):
        of = slice(first, first + count)
        scenes.append(
            Scene(
                name=str(name),
                images=images[of],
                K=packed["K"][of],
                cam_from_world=packed["poses"][of],
                rows=tuple(rows[of]),
                keypoints=tuple(keypoints[of]),
                xyz=points,
            )
        )
        first += count
    return scenes


def open_scenes(path: str | os.PathLike, bad: BadFiles | None = None) -> list[Scene]:
    """Scenes of a folder, or of a packed file. bad: as in read_scene."""
    packed = pathlib.Path(path).suffix == ".npz"
    return unpack_scenes(path) if packed else read_scenes(path, bad=bad)


def _picture(path: pathlib.Path, view: ModelImage) -> UInt8[np.ndarray, "h w"]:
    try:
        image = read_photo(path, long_side=max(view.size))
    except (OSError, ValueError) as error:
        raise UnreadableFile(path, str(error)) from None
    size_scale(view.size, image.shape, path)
    return image


def _measured(view: ModelImage, row_of: dict[int, int], xyz) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the points that a view measures well, ascending, each once; and where."""
    rows = np.array([row_of.get(int(number), -1) for number in view.points], int)
    at = xyz[rows] @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
    depth = np.where(at[:, 2:] > 0, at[:, 2:], np.nan)
    error = np.linalg.norm((at / depth @ view.K.T)[:, :2] - view.keypoints, axis=-1)
    good = (rows >= 0) & (error < MAX_REPROJECTION)
    rows, first = np.unique(rows[good], return_index=True)
    return rows, view.keypoints[good][first]


def _split(x: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    return np.split(x, np.cumsum(counts)[:-1])
