"""What callers give in pixels of their images, in pixels of the working images."""

import numpy as np
from jaxtyping import Float

from astr_jax.geometry import FAR, shrunk_intrinsics, shrunk_points, turned_camera
from astr_jax.images import Prepared, notice

LEAST_SHORT = 40  # pixels of the short side at the working size: below there is hardly a match


def say_if_narrow(prepared: Prepared, name: str) -> None:
    """Warns of an image whose short side is too short, as it is matched, for any match."""
    (short, _), (given_short, given_long) = sorted(prepared.shape), sorted(prepared.given_shape)
    if short >= LEAST_SHORT:
        return
    enough = -(-LEAST_SHORT * given_long // given_short)
    advice = "Enlarge it." if given_short < LEAST_SHORT else f"Raise resize to {enough}, or cut it."
    height, width = prepared.shape
    notice(
        f"{name} is {width} x {height} pixels as it is matched; with fewer than {LEAST_SHORT} on a "
        f"side there is hardly a match. {advice}"
    )


def working_points(keypoints0, prepared: Prepared) -> Float[np.ndarray, "b k 2"]:
    """Points in pixels of the working image. Raises ValueError."""
    points, b = _numbers(keypoints0, "keypoints0"), len(prepared.pixels)
    if points.ndim not in (2, 3) or points.shape[-1] != 2 or (points.ndim == 3) != prepared.batched:
        wanted = "[b k 2], as the images are a batch" if prepared.batched else "[k 2]"
        raise ValueError(f"keypoints0 must be (x, y) pixels {wanted}; got {points.shape}.")
    if prepared.batched and len(points) != b:
        raise ValueError(f"keypoints0 must be of {b} images; got {points.shape}.")
    points = shrunk_points(points.reshape(b, -1, 2), prepared.scale)
    if not (np.abs(points) <= FAR).all():
        raise ValueError("keypoints0 must be finite; some are NaN, infinite, or near to it.")
    return points.astype(np.float32)


def working_intrinsics(K, prepared: Prepared, name: str) -> Float[np.ndarray, "b 3 3"]:
    """K in pixels of the working image, turned as it is; NaN without K. Raises ValueError."""
    b = len(prepared.pixels)
    if K is None:
        return np.full((b, 3, 3), np.nan, np.float32)
    K = _numbers(K, name)
    if K.shape not in ((3, 3), (b, 3, 3)):
        raise ValueError(f"{name} must be a [3 3] matrix of intrinsics; got {K.shape}.")
    if not (np.abs(K) <= FAR).all():
        raise ValueError(f"{name} must be finite; got {K.tolist()}.")
    if (K[..., 0, 0] <= 0).any() or (K[..., 1, 1] <= 0).any():
        raise ValueError(f"{name} must have positive focal lengths, in pixels; got {K.tolist()}.")
    K = turned_camera(K, prepared.upright.given_shape, prepared.turn)
    K = shrunk_intrinsics(K, prepared.scale)
    return np.broadcast_to(K.astype(np.float32), (b, 3, 3))


def _numbers(value, name: str) -> Float[np.ndarray, "..."]:
    try:
        return np.asarray(value, np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{name} must be an array of numbers ({error}).") from None
