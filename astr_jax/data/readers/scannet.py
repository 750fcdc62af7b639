"""ScanNet as its SensReader exports it, with the LoFTR family's index.

    scene0707_00/color/15.jpg   scene0707_00/depth/15.png (mm)   scene0707_00/pose/15.txt

The index (.npz) has `name` [n 4] (707, 0, 15, 585), and maybe `score` [n] (the overlap) and
`rel_pose` [n 12], which counts where there are no pose/ folders; `intrinsics.npz` has a matrix
per scene, in pixels of the depth map.
"""

import os
import pathlib

import numpy as np
from jaxtyping import Float

from astr_jax.data.readers.bad_files import UnreadableFile
from astr_jax.data.readers.calibration import checked_intrinsics, checked_pose
from astr_jax.data.readers.pairs import LazyPairs, PosedDataset, PosedPair
from astr_jax.data.readers.pickles import DAMAGE, read_object_npz
from astr_jax.data.readers.views import View
from astr_jax.geometry import relative_pose


class ScanNet(PosedDataset):
    """Reads ScanNet below `root` by index files: one .npz, or a folder with one for each scene.

    A scene is an index file. Without an `intrinsics` file, the matrix is read from
    sceneXXXX_YY/intrinsic/intrinsic_depth.txt.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        index: str | os.PathLike,
        *,
        intrinsics: str | os.PathLike | None = None,
        min_overlap: float = 0.4,
    ):
        self.root, self.min_overlap = pathlib.Path(root), min_overlap
        index = pathlib.Path(index)
        files = [index] if index.is_file() else sorted(index.glob("*.npz"))
        self.files = {path.stem: path for path in files if path.name != "intrinsics.npz"}
        if not self.files:
            raise FileNotFoundError(f"Expected {index} or {index}/*.npz; found none.")
        self.intrinsics, self.intrinsics_file = None, intrinsics
        if intrinsics is not None:
            try:
                with np.load(intrinsics, allow_pickle=False) as file:
                    self.intrinsics = {name: file[name] for name in file.files}
            except DAMAGE as error:
                raise UnreadableFile(intrinsics, f"no file of intrinsics ({error})") from None
        super().__init__(list(self.files))

    def read_scene(self, scene: str) -> LazyPairs:
        path = self.files[scene]
        index = read_object_npz(path, ("name", "score", "rel_pose"))
        if "name" not in index or index["name"].ndim != 2 or index["name"].shape[1] != 4:
            raise UnreadableFile(path, "an index of ScanNet has `name`, [n 4]")
        try:
            names = index["name"].astype(int)
            score = np.asarray(index.get("score", np.full(len(names), np.nan)), float)
        except (ValueError, TypeError, OverflowError) as error:
            raise UnreadableFile(path, f"`name` and `score` must be numbers ({error})") from None
        rel_pose = index.get("rel_pose")
        for key, given in (("score", score), ("rel_pose", rel_pose)):
            if given is not None and np.shape(given)[:1] != (len(names),):
                raise UnreadableFile(path, f"`{key}` must have a row for each of `name`")
        rows = np.flatnonzero(~(score <= self.min_overlap))  # without a score, all

        def make(k: int) -> PosedPair:
            row = rows[k]
            number, scan, stem0, stem1 = map(int, names[row])
            folder = f"scene{number:04d}_{scan:02d}"
            if rel_pose is None or (self.root / folder / "pose").is_dir():
                poses = (self._cam_from_world(folder, stem) for stem in (stem0, stem1))
                cam0_from_world, cam1_from_world = poses
                cam1_from_cam0 = relative_pose(cam0_from_world, cam1_from_world)
            else:
                cam1_from_cam0 = checked_pose(rel_pose[row], f"{path}, rel_pose of row {row}")
            views = (self._view(folder, stem) for stem in (stem0, stem1))
            return PosedPair(folder, *views, cam1_from_cam0, float(score[row]))

        return LazyPairs(len(rows), make)

    def _view(self, folder: str, stem: int) -> View:
        depth = self.root / folder / "depth" / f"{stem}.png"
        image = self.root / folder / "color" / f"{stem}.jpg"
        K = self._intrinsics_of(folder)
        return View(f"{folder}/{stem}", image, K, depth, K_of_depth=True)

    def _intrinsics_of(self, folder: str) -> Float[np.ndarray, "3 3"]:
        if self.intrinsics is None:
            path = self.root / folder / "intrinsic" / "intrinsic_depth.txt"
            return checked_intrinsics(_read_matrix(path)[:3, :3], path)
        if folder not in self.intrinsics:
            raise UnreadableFile(self.root / folder, "the file of intrinsics has no such scene")
        K = self.intrinsics[folder]
        if K.shape == (4, 4):
            K = K[:3, :3]
        if K.shape == (9,):
            K = K.reshape(3, 3)
        return checked_intrinsics(K, f"{self.intrinsics_file}, {folder}")

    def _cam_from_world(self, folder: str, stem: int) -> Float[np.ndarray, "4 4"]:
        path = self.root / folder / "pose" / f"{stem}.txt"
        world_from_cam = _read_matrix(path)
        if not np.isfinite(world_from_cam).all():
            raise UnreadableFile(path, "the pose is not finite: tracking was lost there")
        return np.linalg.inv(checked_pose(world_from_cam, path))


def _read_matrix(path: pathlib.Path) -> Float[np.ndarray, "4 4"]:
    """Four rows of four numbers, as text."""
    try:
        matrix = np.array(path.read_text().split(), float)
        return matrix.reshape(4, 4)
    except FileNotFoundError:
        raise UnreadableFile(path, "there is no such file") from None
    except ValueError as error:
        raise UnreadableFile(path, f"expected four rows of four numbers ({error})") from None
