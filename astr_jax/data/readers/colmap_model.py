"""COLMAP's sparse models, .bin or .txt, as its documentation of the output format has them.

A damaged file is named; COLMAP's own reader ends the whole process at some.
"""

import dataclasses
import pathlib
import struct
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from astr_jax.data.readers.bad_files import UnreadableFile
from astr_jax.data.readers.calibration import checked_intrinsics

# Camera models without lens distortion, by number and by name. The others have to be undistorted.
UNDISTORTED = {0: "SIMPLE_PINHOLE", 1: "PINHOLE"}
OBSERVATION = np.dtype([("xy", "<f8", 2), ("point", "<i8")])


@dataclasses.dataclass(frozen=True, eq=False)
class ModelImage:
    """A registered picture. COLMAP's pixels are half a pixel more than ours; these are ours."""

    name: str
    size: tuple[int, int]  # (h, w)
    K: Float[np.ndarray, "3 3"]
    cam_from_world: Float[np.ndarray, "4 4"]
    keypoints: Float[np.ndarray, "n 2"]  # of the triangulated points that it sees
    points: Int[np.ndarray, " n"]  # their ids


def read_images(folder: pathlib.Path) -> list[ModelImage]:
    """The registered pictures of a model, by their ids. Raises UnreadableFile."""
    cameras = _records(folder, "cameras", _binary_cameras, _text_cameras)
    cameras = {number: _intrinsics(folder, number, *rest) for number, *rest in cameras}
    images = []
    for _, name, camera, rotation, translation, seen in sorted(
        _records(folder, "images", _binary_images, _text_images), key=lambda record: record[0]
    ):
        if camera not in cameras:
            raise UnreadableFile(folder, f"picture {name} is of camera {camera}, which is missing")
        K, size = cameras[camera]
        if not (np.isfinite([*rotation, *translation]).all() and any(rotation)):
            raise UnreadableFile(
                folder, f"the pose of picture {name} must be finite, and its quaternion not 0"
            )
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation_matrix(np.array(rotation)), translation
        seen = seen[seen["point"] >= 0]
        images.append(ModelImage(name, size, K, pose, seen["xy"] - 0.5, seen["point"]))
    names = [image.name for image in images]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UnreadableFile(folder, f"two pictures are called {min(twice)}")
    if not images:
        raise UnreadableFile(folder, "there is no registered picture in it")
    return images


def read_points(folder: pathlib.Path) -> dict[int, tuple[float, float, float]]:
    """The triangulated points of a model: {id: (x, y, z)}. Raises UnreadableFile."""
    return dict(_records(folder, "points3D", _binary_points, _text_points))


def rotation_matrix(quaternion: Float[np.ndarray, "4"]) -> Float[np.ndarray, "3 3"]:
    """The rotation of a quaternion (w, x, y, z)."""
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def _intrinsics(folder, number, model, width, height, params):
    if model not in UNDISTORTED.values():
        raise UnreadableFile(
            folder,
            f"camera {number} ({model}) has lens distortion; run `colmap image_undistorter` and "
            "read its output",
        )
    if len(params) != (4 if model == "PINHOLE" else 3):
        raise UnreadableFile(folder, f"camera {number} ({model}) has {len(params)} parameters")
    if min(width, height) < 1:
        raise UnreadableFile(folder, f"camera {number} has {width} x {height} pixels")
    fx, fy, cx, cy = params if model == "PINHOLE" else (params[0], *params)
    K = [[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]]
    return checked_intrinsics(K, f"{folder}, camera {number}"), (height, width)


def _records(folder: pathlib.Path, name: str, binary, text) -> list[tuple]:
    """What a file of the model holds, read by the function for its kind."""
    path = folder / f"{name}.bin"
    try:
        if path.is_file():
            return list(binary(_Stream(path.read_bytes())))
        path = folder / f"{name}.txt"
        return list(text(line.strip() for line in path.read_text().splitlines()))
    except FileNotFoundError:
        raise UnreadableFile(path, "there is no such file, and no .bin either") from None
    except (ValueError, IndexError, OSError) as error:
        raise UnreadableFile(path, f"it is no file of a COLMAP model ({error})") from None


class _Stream:
    """Takes little-endian values from bytes; past the end it raises ValueError."""

    def __init__(self, content: bytes):
        self.content, self.at = content, 0

    def take(self, layout: str) -> tuple:
        size = struct.calcsize("<" + layout)
        if self.at + size > len(self.content):
            raise ValueError(f"it ends after {len(self.content)} bytes, in the middle")
        values = struct.unpack_from("<" + layout, self.content, self.at)
        self.at += size
        return values

    def take_rows(self, dtype: np.dtype, count: int) -> np.ndarray:
        if self.at + dtype.itemsize * count > len(self.content):
            raise ValueError(f"it ends after {len(self.content)} bytes, in the middle")
        rows = np.frombuffer(self.content, dtype, count, self.at)
        self.at += rows.nbytes
        return rows

    def take_name(self) -> str:
        end = self.content.index(b"\0", self.at)
        name = self.content[self.at : end].decode()
        self.at = end + 1
        return name


def _binary_cameras(stream: _Stream) -> Iterator[tuple]:
    (count,) = stream.take("Q")
    for _ in range(count):
        number, model, width, height = stream.take("iiQQ")
        if model not in UNDISTORTED:  # of how many parameters, nobody needs to know
            yield number, f"COLMAP's camera model {model}", width, height, ()
            return
        params = stream.take("3d" if model == 0 else "4d")
        yield number, UNDISTORTED[model], width, height, params


def _binary_images(stream: _Stream) -> Iterator[tuple]:
    (count,) = stream.take("Q")
    for _ in range(count):
        number, *pose, camera = stream.take("i7di")
        name = stream.take_name()
        seen = stream.take_rows(OBSERVATION, *stream.take("Q"))
        yield number, name, camera, pose[:4], pose[4:], seen


def _binary_points(stream: _Stream) -> Iterator[tuple]:
    (count,) = stream.take("Q")
    for _ in range(count):
        number, x, y, z, _, _, _, _, track = stream.take("Q3d3BdQ")
        stream.take_rows(np.dtype("<i4,<i4"), track)
        yield number, (x, y, z)


def _records_of(lines: Iterator[str]) -> Iterator[str]:
    """The lines that say something: no comment, not empty."""
    return (line for line in lines if line and not line.startswith("#"))


def _text_cameras(lines: Iterator[str]) -> Iterator[tuple]:
    for number, model, width, height, *params in map(str.split, _records_of(lines)):
        yield int(number), model, int(width), int(height), tuple(float(p) for p in params)


def _text_images(lines: Iterator[str]) -> Iterator[tuple]:
    """Two lines a picture; the second is empty where it sees nothing."""
    for first in _records_of(lines):
        number, *pose, camera, name = first.split(maxsplit=9)
        second = next(lines, None)
        if second is None:
            raise ValueError(f"it ends behind the first line of {name}; a picture has two")
        if len(pose) != 7:
            raise ValueError(f"the first line of {name} has {len(pose) + 3} values instead of 10")
        values = np.array(second.split(), float).reshape(-1, 3)
        seen = np.empty(len(values), OBSERVATION)
        seen["xy"], seen["point"] = values[:, :2], values[:, 2]
        pose = [float(value) for value in pose]
        yield int(number), name, int(camera), pose[:4], pose[4:], seen


def _text_points(lines: Iterator[str]) -> Iterator[tuple]:
    for number, x, y, z, *_ in map(str.split, _records_of(lines)):
        yield int(number), (float(x), float(y), float(z))
