"""Pairs of synthetic geometry, posed and flat by turns, and a matcher that knows their truth."""

import numpy as np
from PIL import Image

from astr_jax.evaluation.benchmarks.pairs import Pair
from astr_jax.evaluation.benchmarks.truths import HomographyTruth, PoseTruth
from astr_jax.geometry import warp_points

SIZE = (320, 256)  # (w, h)
K = np.array([[300.0, 0, 160], [0, 300.0, 128], [0, 0, 1]])
POINTS = 150


def turned(degrees, axis):
    """A rotation [3 3] about the first, second or third axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    a, b = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    matrix[a, a] = matrix[b, b] = c
    matrix[a, b], matrix[b, a] = -s, s
    return matrix


def make_pair(folder, number, rng):
    """A pair, posed or flat by turns, and its true matches; image 0 says in grey which it is."""
    images = [folder / f"{number}_{side}.png" for side in (0, 1)]
    for image in images:
        grey = rng.integers(0, 255, SIZE[::-1], dtype=np.uint8)
        grey[0, 0] = number
        Image.fromarray(grey).save(image)
    common = {"name": str(number), "image0": images[0], "image1": images[1], "checked": True}
    if number % 2:
        H = turned(rng.uniform(-10, 10), 2)
        H[:2, 2], H[2, :2] = rng.uniform(-20, 20, 2), rng.uniform(-2e-4, 2e-4, 2)
        points0 = rng.uniform(0, [SIZE[0] - 1, SIZE[1] - 1], (POINTS, 2))
        points = points0, warp_points(H, points0)
        return Pair(set="flat", truth=HomographyTruth(homography=H), **common), points
    T = np.eye(4)
    T[:3, :3] = turned(rng.uniform(-10, 10), 1) @ turned(rng.uniform(-20, 20), 2)
    T[:3, 3] = rng.uniform(-1, 1, 3)
    X = rng.uniform([-2, -1.5, 4], [2, 1.5, 8], (POINTS, 3))
    Y = X @ T[:3, :3].T + T[:3, 3]
    points = tuple((Z @ K.T)[:, :2] / Z[:, 2:] for Z in (X, Y))
    truth = PoseTruth(K0=K, K1=K, cam1_from_cam0=T)
    return Pair(set="posed", truth=truth, overlap=0.1 * number, **common), points


def oracle(truth, *, noise=0.0, shuffle=False, sigma=None):
    """A matcher that knows the truth; its noise depends on the pair alone."""

    def match(img0, img1, K0=None, K1=None):
        number = int(img0[0, 0])
        points0, points1 = truth[number]
        rng = np.random.default_rng(number)
        points1 = points1[rng.permutation(POINTS)] if shuffle else points1
        blurred = points1 + rng.normal(0, 1, points1.shape) * noise
        confidence = np.linspace(1, 0.05, POINTS)
        more = () if sigma is None else (np.full(POINTS, sigma),)
        return points0, blurred, confidence, *more

    return match
