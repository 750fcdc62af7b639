"""Banded sparsity: with a known pose, a cell looks at the cells near its epipolar line alone.

    python examples/epipolar_bands.py

Two cameras see a wavy surface. The cells of image 0 look at image 1, first everywhere, then at a
band of two cells about their epipolar lines, given as `Pairs`. Their descriptors are noisy, so that
many cells look alike. It prints how many pairs there are, whether the true partner is among them,
and how many of the best matches of P are right.
"""

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels.sparse_attention import Pairs, dual_softmax

GRID, CHANNELS, NOISE, BAND = (24, 32), 24, 0.9, 2.0  # cells (h, w), -, -, cells
FOCAL = 30.0  # of both cameras, in cells
MOTION = np.array([0.35, 0.1, -0.15])  # from camera 0 to camera 1: cam1 = turn @ cam0 + MOTION


def main() -> None:
    height, width = GRID
    rng = np.random.default_rng(0)
    y, x = (v.ravel().astype(float) for v in np.mgrid[:height, :width])
    angle = np.radians(6.0)
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    K = np.array([[FOCAL, 0, (width - 1) / 2], [0, FOCAL, (height - 1) / 2], [0, 0, 1]])

    depth = 3.0 + 0.8 * np.sin(x / 5) * np.cos(y / 4)
    rays = np.linalg.solve(K, np.stack([x, y, np.ones_like(x)]))
    seen = K @ (turn @ (rays * depth) + MOTION[:, None])
    place = (seen[:2] / seen[2]).T  # where each cell lies in image 1, in cells
    column, row = np.round(place).astype(int).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    true = np.where(inside, row * width + column, -1)

    cross = np.array(
        [[0, -MOTION[2], MOTION[1]], [MOTION[2], 0, -MOTION[0]], [-MOTION[1], MOTION[0], 0]]
    )
    fundamental = np.linalg.inv(K).T @ cross @ turn @ np.linalg.inv(K)
    lines = np.stack([x, y, np.ones_like(x)], -1) @ fundamental.T  # of image 1, for each cell
    lines /= np.linalg.norm(lines[:, :2], axis=1, keepdims=True)
    distance = np.abs(lines @ np.stack([x, y, np.ones_like(x)]))  # [queries keys]

    n = height * width
    f1 = rng.normal(size=(n, CHANNELS))
    f0 = np.where(inside[:, None], f1[np.maximum(true, 0)], rng.normal(size=(n, CHANNELS)))
    f0, f1 = (jnp.asarray(f + NOISE * rng.normal(size=f.shape), jnp.float32) for f in (f0, f1))

    @jax.jit
    def best_of(m_q, m_k):
        return dual_softmax(f0, f1, Pairs(m_q, m_k, n, n), scale=0.5).best

    for name, band in (("all pairs", np.inf), (f"bands of {BAND:g} cells", BAND)):
        m_q, m_k = (jnp.asarray(i, jnp.int32) for i in np.nonzero(distance <= band))
        best = np.asarray(best_of(m_q, m_k))
        held = distance[np.arange(n), np.maximum(true, 0)] <= band
        print(
            f"{name:16} {len(m_q) / n:5.0f} keys a query, the true one among them for "
            f"{held[inside].mean():.1%}; best match right for {(best == true)[inside].mean():.1%}"
        )


if __name__ == "__main__":
    main()
