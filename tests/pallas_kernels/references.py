"""What the tests of the kernels compare with, so plain that it needs no test."""

import importlib.util

import jax
import numpy as np
import pytest

from pallas_kernels.sparse_attention.pairs import NOTHING

NEEDS_TRITON = pytest.mark.skipif(
    jax.default_backend() != "gpu" or importlib.util.find_spec("jax_triton") is None,
    reason="jax-triton has no interpreter: it needs a GPU, and the extra triton",
)
ON_LISTS = (
    "segment_sum",
    "gather",
    "dense",
    "pallas_lists",
    pytest.param("triton", marks=NEEDS_TRITON),
)
ON_SPOTS = (*ON_LISTS, "pallas_tiles", "tiles_or_lists")


def dense_reference(q, k, v, cells, g):
    """Output and gradients for the cotangent g, in float64, one query and head at a time."""
    q, k, v, g = (np.asarray(x, np.float64) for x in (q, k, v, g))
    scale = q.shape[-1] ** -0.5
    out, dq, dk, dv = np.zeros_like(q), np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for i, h in np.ndindex(q.shape[:2]):
        j = cells[i][cells[i] >= 0]
        e = np.exp(k[j, h] @ q[i, h] * scale)
        p = e / e.sum()
        out[i, h] = p @ v[j, h]
        dlogit = p * ((v[j, h] - out[i, h]) @ g[i, h]) * scale
        dq[i, h] = dlogit @ k[j, h]
        dk[j, h] += np.outer(dlogit, q[i, h])
        dv[j, h] += np.outer(p, g[i, h])
    return out, (dq, dk, dv)


def seen_by_spots(spots):
    """Which keys every query looks at, [n m]: the clipped windows, masked, by plain loops."""
    height, width = spots.grid1
    reach = spots.window // 2
    seen = np.zeros((len(spots.centres), height, width), bool)
    for i, centres in enumerate(np.asarray(spots.centres)):
        for centre in centres[centres >= 0] if spots.valid0[i] else ():
            y, x = divmod(int(centre), width)
            seen[i, max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1] = True
    return seen.reshape(-1, height * width) & np.asarray(spots.valid1)


def seen_by_lists(cells, num_keys):
    """The same for padded lists."""
    seen = np.zeros((len(cells), num_keys), bool)
    for i, row in enumerate(np.asarray(cells)):
        seen[i, row[row >= 0]] = True
    return seen


def as_lists(seen):
    """Padded lists of the keys that stand in a mask [n m]."""
    return np.where(seen, np.arange(seen.shape[1]), -1).astype(np.int32)


def dense_log_prob(f0, f1, seen, scale):
    """log P [n m] and the log-sum-exps of its rows and columns, in float64; NOTHING where empty."""
    score = scale * np.asarray(f0, np.float64) @ np.asarray(f1, np.float64).T
    lse0, lse1 = _log_sum_exp(score, seen, axis=1), _log_sum_exp(score, seen, axis=0)
    log_prob = np.where(seen, 2 * score - lse0[:, None] - lse1[None], NOTHING)
    return log_prob, lse0, lse1


def dense_dual_gradients(f0, f1, seen, scale, g, g0, g1):
    """Gradients of f0 and f1 for the cotangents g of log P [n m], and g0, g1 of both lse."""
    f0, f1 = np.asarray(f0, np.float64), np.asarray(f1, np.float64)
    _, lse0, lse1 = dense_log_prob(f0, f1, seen, scale)
    score, g = scale * f0 @ f1.T, np.where(seen, g, 0.0)
    row = np.exp(np.where(seen, score - lse0[:, None], -np.inf))
    column = np.exp(np.where(seen, score - lse1[None], -np.inf))
    slope = 2 * g + row * (g0 - g.sum(axis=1))[:, None] + column * (g1 - g.sum(axis=0))[None]
    return scale * slope @ f1, scale * slope.T @ f0


def _log_sum_exp(score, seen, axis):
    top = np.where(seen, score, -np.inf).max(axis=axis, keepdims=True)
    some = seen.any(axis=axis)
    top = np.where(np.isfinite(top), top, 0.0)
    total = np.where(seen, np.exp(score - top), 0.0).sum(axis=axis)
    return np.where(some, top.squeeze(axis) + np.log(np.where(some, total, 1.0)), NOTHING)


def assert_close(actual, expected, value_tol=1e-5, grad_tol=1e-4):
    """Largest error over the reference's largest value, for the output and each gradient.

    What cancels to zero is held to the tolerance of 0.01.
    """
    pairs = [(actual[0], expected[0], value_tol)]
    pairs += [(a, e, grad_tol) for a, e in zip(actual[1], expected[1], strict=True)]
    for a, e, tol in pairs:
        a = np.asarray(a, np.float64)
        assert a.shape == e.shape
        assert np.abs(a - e).max(initial=0) <= tol * np.abs(e).max(initial=1e-2)
