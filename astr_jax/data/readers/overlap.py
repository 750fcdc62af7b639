"""Which views of a scene see the same surfaces."""

import numpy as np
from jaxtyping import Float, Int

from astr_jax.data.readers.depths import nearest
from astr_jax.supervision import DEPTH_TOLERANCE

SAMPLES = (24, 32)  # points of a view that are looked for in the others
MAP = (120, 160)  # depth maps they are compared with


def overlap_from_depth(
    depths: list[Float[np.ndarray, "h w"] | None],
    Ks: list[Float[np.ndarray, "3 3"]],
    sizes: list[tuple[int, int]],
    cam_from_world: list[Float[np.ndarray, "4 4"]],
) -> Float[np.ndarray, "n n"]:
    """The share of two views' surfaces that both see: the lesser of the two shares; nan unknown.

    A point of view i is seen in view j where it falls into the picture, in front of the camera and
    at the depth that j has there. Of two views with one depth map between them, that one's share
    counts. K is in pixels of a picture of size (h, w); all depth maps cover the whole picture.
    """
    n = len(depths)
    maps = [None if d is None else nearest(d, MAP) for d in depths]
    share = np.full((n, n), np.nan)
    for i in range(n):
        if depths[i] is None:
            continue
        world = _world_points(depths[i], Ks[i], sizes[i], cam_from_world[i])
        for j in range(n) if len(world) else ():
            if j != i:
                seen = _seen(world, maps[j], Ks[j], sizes[j], cam_from_world[j])
                share[i, j] = seen.mean()
    return np.fmin(share, share.T)


def overlap_from_tracks(points_of: list[Int[np.ndarray, " _"]]) -> Float[np.ndarray, "n n"]:
    """Common triangulated points over the points of the view with fewer; 0 where there are none.

    points_of[i]: the ids of the points that view i sees, each once.
    """
    count = np.array([len(points) for points in points_of])
    view = np.repeat(np.arange(len(points_of)), count)
    ids, point = np.unique(np.concatenate(points_of), return_inverse=True)
    view_of = view[np.argsort(point, kind="stable")]  # the views of point 0, of point 1, ...
    times = np.bincount(point, minlength=len(ids))
    first = np.cumsum(times) - times
    common = np.zeros((len(points_of), len(points_of)))
    for row, points in zip(common, np.split(point, np.cumsum(count)[:-1]), strict=True):
        n = times[points]
        run = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)  # 0 .. n - 1 of each point
        row += np.bincount(view_of[np.repeat(first[points], n) + run], minlength=len(row))
    fewer = np.minimum(count[:, None], count[None, :])
    return common / np.maximum(fewer, 1)


def _world_points(depth, K, size, cam_from_world) -> Float[np.ndarray, "n 3"]:
    """Points of the surface on a coarse grid of the picture, where depth is known."""
    z = nearest(depth, SAMPLES)
    y, x = np.nonzero(z > 0)
    # The depth pixel that `nearest` took, in pixels of the picture.
    rows, columns = (
        (np.floor((k + 0.5) * d / s) + 0.5) * side / d - 0.5
        for k, d, s, side in zip((y, x), depth.shape, SAMPLES, size, strict=True)
    )
    pixels = np.stack([columns, rows, np.ones(len(rows))], axis=-1)
    camera = pixels @ np.linalg.inv(K).T * z[y, x][:, None]
    world_from_cam = np.linalg.inv(cam_from_world)
    return camera @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]


def _seen(world, depth_map, K, size, cam_from_world) -> np.ndarray:
    camera = world @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
    z = camera[:, 2]
    pixels = (camera @ K.T)[:, :2] / np.where(z > 0, z, np.inf)[:, None]
    h, w = size
    inside = (z > 0) & (np.abs(pixels - (w / 2 - 0.5, h / 2 - 0.5)) < (w / 2, h / 2)).all(axis=-1)
    if depth_map is None:
        return inside
    x, y = (np.where(inside[:, None], (pixels + 0.5) / (w, h), 0) * MAP[::-1]).astype(int).T
    known = depth_map[y, x]
    return inside & (np.abs(z - known) < DEPTH_TOLERANCE * known)
