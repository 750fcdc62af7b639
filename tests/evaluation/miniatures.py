"""Miniatures of the published layouts of benchmarks, and a matcher that knows their truth."""

import json
import struct

import cv2
import numpy as np
from PIL import Image

from astr_jax.evaluation.reports.runner import evaluate
from astr_jax.evaluation.scores import metrics

SIZE = (96, 72)  # (w, h) of the miniatures' pictures
K = np.array([[80.0, 0, 47.2], [0, 82.0, 36.1], [0, 0, 1]])


class Scene:
    """Points of a world, and pictures of them, each of one grey by which it is known again."""

    def __init__(self, rng, count):
        self.points = rng.uniform([-1.5, -1, -1], [1.5, 1, 1], (150, 3))
        self.turns = rng.uniform(-0.25, 0.25, (count, 3))  # axis times angle
        self.poses = []
        for k, turn in enumerate(self.turns):
            pose = np.eye(4)
            pose[:3, :3] = cv2.Rodrigues(turn)[0]
            pose[:3, 3] = rng.uniform([2 * (k % 2) - 1, -1, 5], [2 * (k % 2) + 1, 1, 7])
            self.poses.append(pose)

    def save(self, number, path, size=SIZE):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size, 5 * number + 5).save(path, format="PNG")

    def pose(self, i, j):
        return self.poses[j] @ np.linalg.inv(self.poses[i])

    def match(self, img0, img1, K0=None, K1=None):
        """The true places of all points, whatever size the images come in."""
        points = []
        for image in (img0, img1):
            pose = self.poses[(int(image[0, 0]) - 5) // 5]
            camera = self.points @ pose[:3, :3].T + pose[:3, 3]
            pixels = (camera @ K.T)[:, :2] / camera[:, 2:]
            points.append((pixels + 0.5) * np.array(image.shape[::-1]) / SIZE - 0.5)
        return *points, np.ones(len(self.points))


def assert_perfect(benchmark, matcher):
    """All pairs score 100 by every estimator."""
    records = evaluate(benchmark, matcher)
    assert [record.failure for record in records] == [None] * len(benchmark.pairs)
    for name in records[0].errors:
        errors = [record.errors[name][0] for record in records]
        assert min(metrics.error_auc(errors, [5.0])) > 0.999
    assert all(share == 1.0 for record in records for share in record.precision.values())


def objects(values):
    array = np.empty(len(values), object)
    for k, value in enumerate(values):
        array[k] = value
    return array


BANDS = ("0015_0.1_0.3", "0015_0.3_0.5", "0022_0.1_0.3", "0022_0.3_0.5", "0022_0.5_0.7")
NAMES = ("a", "b", "c", "d")


def make_megadepth(root, rng):
    """Two scenes of four pictures, two of the six pairs in each index file; the index's paths."""
    scene = Scene(rng, 4)
    (root / "index").mkdir()
    for number in ("0015", "0022"):
        for k, name in enumerate(NAMES):
            scene.save(k, root / "Undistorted_SfM" / number / "images" / f"{name}.jpg")
    for stem in BANDS:
        folder = f"Undistorted_SfM/{stem[:4]}/images"
        infos = np.empty((2, 3), object)
        infos[0, :] = (0, 1), 0.25, np.zeros((2, 4))
        infos[1, :] = (3, 2), 0.15, np.zeros((2, 4))
        np.savez(
            root / "index" / f"{stem}.npz",
            image_paths=objects([f"{folder}/{name}.jpg" for name in NAMES] + [None]),
            depth_paths=objects(
                [f"phoenix/S6/zl548/MegaDepth_v1/{stem[:4]}/dense0/depths/{n}.h5" for n in NAMES]
                + [None]
            ),
            intrinsics=objects([K] * 4 + [None]),
            poses=objects([*scene.poses, None]),
            pair_infos=infos,
        )
    return scene


STEMS = (15, 585, 0)
COLOUR = (130, 97)  # (w, h): another aspect ratio than 640 x 480, as 1296 x 968 is
ROWS = np.array([[707, 0, 15, 585], [707, 0, 0, 15]])


def make_scannet(root, rng):
    """One scan of three frames; test.npz and intrinsics.npz, of the 640 x 480 depth map."""
    scene = Scene(rng, 3)
    folder = root / "scene0707_00"
    (folder / "pose").mkdir(parents=True)
    for k, stem in enumerate(STEMS):
        scene.save(k, folder / "color" / f"{stem}.jpg", COLOUR)
        np.savetxt(folder / "pose" / f"{stem}.txt", np.linalg.inv(scene.poses[k]), fmt="%.17g")
    grown = np.array([[640 / 96, 0, 320 / 96 - 0.5], [0, 480 / 72, 240 / 72 - 0.5], [0, 0, 1]])
    np.savez(root / "test.npz", name=ROWS)
    np.savez(root / "intrinsics.npz", scene0707_00=grown @ K)
    return scene


SEQUENCES = ("i_ajuntament", "v_adam", "i_dc", "v_talent")


def make_hpatches(root, rng):
    """Four sequences, two of them very large ones; {(sequence, number): homography}."""
    truth = {}
    for sequence in SEQUENCES:
        folder = root / sequence
        folder.mkdir()
        for number in range(1, 7):
            size = (120, 80 + number)
            grey = 30 * SEQUENCES.index(sequence) + number
            Image.new("RGB", size, (grey,) * 3).save(folder / f"{number}.ppm")
            if number > 1:
                H = np.array([[1.1, 0.1, -2], [-0.1, 0.9, 3], [1e-4, 2e-4, 1.0]])
                H[:2] += rng.uniform(-0.05, 0.05, (2, 3))
                truth[sequence, number] = H
                np.savetxt(folder / f"H_1_{number}", H, fmt="%.17g")
    return truth


SEEN = [range(10), range(8, 18), range(4, 14), range(7, 17), range(30, 40), range(9, 19)]


def make_town(root, rng):
    """A binary model of six pictures, each with ten points, some in common; and a text camera."""
    scene = Scene(rng, len(SEEN))
    (root / "town" / "sparse").mkdir(parents=True)
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5  # COLMAP's half pixel
    camera = struct.pack("<QiiQQ4d", 1, 7, 1, *SIZE, fx, fy, cx, cy)
    images = struct.pack("<Q", len(SEEN))
    for k, points in enumerate(SEEN):
        angle = np.linalg.norm(scene.turns[k])
        rotation = [np.cos(angle / 2), *(np.sin(angle / 2) * scene.turns[k] / angle)]
        images += struct.pack("<i7di", k + 1, *rotation, *scene.poses[k][:3, 3], 7)
        images += f"sub/{k}.jpg".encode() + b"\0" + struct.pack("<Q", len(points))
        images += b"".join(struct.pack("<2dq", 1.0, 2.0, point) for point in points)
        scene.save(k, root / "town" / "images" / "sub" / f"{k}.jpg")
    (root / "town" / "sparse" / "cameras.bin").write_bytes(camera)
    (root / "town" / "sparse" / "images.bin").write_bytes(images)
    return scene


GRID = np.mgrid[20:300:12, 20:220:12].reshape(2, -1).T.astype(float)  # [k 2]


def grid_matcher(img0, img1, K0=None, K1=None):
    """True matches of a shift by (-8, 0) on GRID, with noise that grows as the confidence falls."""
    rng = np.random.default_rng(int(img0[0, 0]))
    sigma = np.linspace(0.2, 3.0, len(GRID))
    noise = rng.normal(0, 1, GRID.shape) * sigma[:, None]
    return GRID, GRID - [8, 0] + noise, np.linspace(1, 0.1, len(GRID)), sigma


def make_shifted(root):
    """Two sets of three pairs: noise moved by a shift, as homographies and as a sideways step."""
    rng = np.random.default_rng(0)
    camera = [[300.0, 0, 160], [0, 300.0, 120], [0, 0, 1]]
    step = [[1, 0, 0, -1.0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    truths = {
        "flat": {"H_0to1": [[1, 0, -8], [0, 1, 0], [0, 0, 1]]},
        "posed": {"K0": camera, "K1": camera, "T_0to1": step, "checked": True},
    }
    for name, truth in truths.items():
        (root / name).mkdir()
        entries = []
        for number in range(3):
            texture = rng.integers(0, 255, (240, 328), dtype=np.uint8)
            for side, part in enumerate((texture[:, :320], texture[:, 8:])):
                part = np.ascontiguousarray(part)
                part[0, 0] = number
                Image.fromarray(part).save(root / name / f"{number}_{side}.png")
            images = {f"image{side}": f"{number}_{side}.png" for side in (0, 1)}
            entries.append(images | truth | {"overlap": 0.3 * number})
        (root / name / "index.json").write_text(json.dumps(entries))
