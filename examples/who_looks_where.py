"""Draws who looks where: for one query cell, what each kind of index lets it see.

    python examples/who_looks_where.py docs/spans.jpg

The pair is that of `astr demo town`, whose cameras are known. Spots are those of the weights that
ship. No weights with flows ship: the span is drawn about the true place, as wide as a flow would
make it that is sure to 2.2 cells along x and 0.8 along y.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import astr_jax
from astr_jax.data.demo import demo_pair, located, view
from astr_jax.data.town import paint_town
from astr_jax.images import to_grey
from astr_jax.matching import stages
from pallas_kernels.sparse_attention import Both, Lists, Pairs, Spans

SIZE, STRIDE, QUERY = (256, 320), 8, (20, 14)  # h, w; pixels a cell; the query cell (x, y)
SIGMA, BAND, ALIKE = (2.2, 0.8), 1.0, 24  # cells, cells, keys


def spots_and_features(pair):
    """Where the cells of image 0 look in the last block of tiny, and its features at 1/8."""
    params = astr_jax.load("tiny")
    images = [jnp.asarray(to_grey(image, "image")[0]) for image in (pair.image0, pair.image1)]
    mask = jnp.ones((1, *SIZE), bool)

    @jax.jit
    def run(image0, image1):
        features = [stages.encode(params, image, mask) for image in (image0, image1)]
        coarse = stages.aggregate(params, *features)
        return coarse.spots[-1][0], [f.coarse8 for f in features]

    spots, features = run(*images)
    maps = [np.asarray(f, np.float64).reshape(-1, f.shape[-1]) for f in features]
    return jax.tree.map(lambda x: x[0], spots), maps


def alike(features, query: int) -> np.ndarray:
    """The keys whose features are nearest to the query's, in eight principal components."""
    f0, f1 = (f - f.mean(axis=0) for f in features)
    axes = np.linalg.svd(np.concatenate([f0, f1]), full_matrices=False)[2][:8].T
    return np.argsort(np.linalg.norm((f1 - f0[query]) @ axes, axis=1))[:ALIKE]


def fundamental(pair, photo) -> np.ndarray:
    """Of both cameras: each homography of the plane is K [r1 r2 t] of its camera."""
    K = np.array([[1.2 * SIZE[1], 0, (SIZE[1] - 1) / 2], [0, 1.2 * SIZE[1], (SIZE[0] - 1) / 2]])
    K = np.vstack([K, [0, 0, 1]])
    middle = np.array([photo.shape[1] - 1, photo.shape[0] - 1]) / 2
    zoom = 1.12 * max(SIZE[0] / photo.shape[0], SIZE[1] / photo.shape[1])
    view0 = view(middle, zoom, tilt=-6.0, axis=80.0, roll=-2.0, size=SIZE)
    poses = []
    for plane in (view0, pair.homography @ view0):
        columns = np.linalg.solve(K, plane)
        columns /= np.linalg.norm(columns[:, 0])
        r1, r2, t = columns.T
        poses.append((np.stack([r1, r2, np.cross(r1, r2)], axis=1), t))
    (R0, t0), (R1, t1) = poses
    turn = R1 @ R0.T
    x, y, z = t1 - turn @ t0
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.linalg.inv(K).T @ cross @ turn @ np.linalg.inv(K)


def rules(pair, photo) -> dict:
    """What each index lets the query see: the weight of every cell of image 1, [h w]."""
    h, w = SIZE[0] // STRIDE, SIZE[1] // STRIDE
    n, query = h * w, QUERY[1] * w + QUERY[0]
    spots, features = spots_and_features(pair)
    pixel = np.array(QUERY, float) * STRIDE
    line = fundamental(pair, photo) @ np.append(pixel, 1.0)
    y, x = np.mgrid[:h, :w] * STRIDE
    distance = np.abs(line[0] * x + line[1] * y + line[2]) / np.hypot(*line[:2])
    near = np.flatnonzero(distance.ravel() <= BAND * STRIDE)
    ones = jnp.ones(n, bool)
    place = jnp.full((n, 2), jnp.asarray(located(pair, pixel[None])[0] / STRIDE))
    halves = jnp.full((n, 2), 2 * jnp.asarray(SIGMA))
    span = Spans(place, halves, ones, ones, (h, w), (h, w), samples=None, reach=5)
    samples = Spans(place, halves, ones, ones, (h, w), (h, w), samples=5)
    listed = jnp.full((n, ALIKE), -1).at[query].set(jnp.asarray(alike(features, query)))
    pairs = Pairs(jnp.full(len(near), query), jnp.asarray(near), n, n)
    found = {
        f"Lists: the {ALIKE} most alike": Lists(listed, n),
        f"Pairs: within {BAND:g} cell of the epipolar line": pairs,
        "Spots: windows about the neighbours' matches": spots,
        "Spans: every cell within two sigma": span,
        "Spans: 5 x 5 bilinear samples": samples,
        "Both: spots and spans": Both(spots, span),
    }
    return {name: weights_of(index, query, n).reshape(h, w) for name, index in found.items()}


def weights_of(index, query: int, n: int) -> np.ndarray:
    pairs = index.pairs()
    mine = np.asarray((pairs.m_q == query) & (pairs.m_k >= 0))
    weights = np.ones(len(mine)) if pairs.weights is None else np.asarray(pairs.weights)
    seen = np.zeros(n)
    np.add.at(seen, np.asarray(pairs.m_k)[mine], weights[mine])
    return seen


def main() -> None:
    photo = paint_town()
    pair = demo_pair(photo, SIZE)
    figure = Figure(figsize=(15.0, 6.6), dpi=90, facecolor="#14171c")
    axes = figure.subplots(2, 4).ravel()
    true = located(pair, np.array([QUERY], float) * STRIDE)[0]
    panels = [("the query cell, in image 0", pair.image0, None, np.array(QUERY) * STRIDE)]
    panels += [("its true place, in image 1", pair.image1, None, true)]
    panels += [(name, pair.image1, seen, true) for name, seen in rules(pair, photo).items()]
    for axis in axes:
        axis.axis("off")
    for axis, (name, image, seen, point) in zip(axes, panels, strict=False):
        axis.imshow(image if seen is None else image // 2)
        if seen is not None:
            h, w = seen.shape
            edges = (-STRIDE / 2, (w - 0.5) * STRIDE, (h - 0.5) * STRIDE, -STRIDE / 2)
            heat = np.zeros((h, w, 4))
            heat[..., :3], heat[..., 3] = (1.0, 0.71, 0.33), 0.85 * (seen / seen.max()) ** 0.7
            axis.imshow(heat, extent=edges, interpolation="nearest")
            name = f"{name}: {np.count_nonzero(seen)} keys"
        axis.scatter(*point, s=60, facecolors="none", edgecolors="#6be5ff", linewidths=1.6)
        axis.set(xlim=(-0.5, SIZE[1] - 0.5), ylim=(SIZE[0] - 0.5, -0.5))
        axis.set_title(name, color="#f2f0ea", size=9, loc="left")
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.96, 0.03, 0.08)
    figure.savefig(sys.argv[1], facecolor=figure.get_facecolor())


if __name__ == "__main__":
    main()
