"""Synthetic worlds: the images agree with the depth and the pose they come with."""

import jax
import numpy as np
import pytest

from astr_jax.data.worlds import KINDS, WorldConfig, make_atlas, render_pairs
from astr_jax.supervision import warp_by_depth

CONFIG, BATCH = WorldConfig(height=64, width=96), 4


@pytest.fixture(scope="module")
def atlas():
    rng = np.random.default_rng(0)
    return make_atlas([rng.integers(0, 256, (64, 64), dtype=np.uint8) for _ in range(3)], side=32)


@pytest.fixture(scope="module")
def pairs(atlas):
    return jax.device_get(render_pairs(jax.random.key(3), atlas, 0.3, config=CONFIG, batch=BATCH))


def test_a_batch_has_images_depth_cameras_and_pose(pairs):
    for i in "01":
        assert pairs[f"image{i}"].shape == pairs[f"depth{i}"].shape == (BATCH, 64, 96)
        assert pairs[f"image{i}"].dtype == np.uint8
        assert pairs[f"image{i}"].std(axis=(1, 2)).min() > 5  # there is something to see
        assert np.isfinite(pairs[f"depth{i}"]).all()
        assert pairs[f"depth{i}"].min() >= 0
        assert ((pairs[f"depth{i}"] > 0).mean(axis=(1, 2)) > 0.2).all()
    R = pairs["T_0to1"][:, :3, :3]
    np.testing.assert_allclose(R @ R.swapaxes(1, 2), np.tile(np.eye(3), (BATCH, 1, 1)), atol=1e-5)
    assert set(pairs["kind"]) <= set(range(len(KINDS)))


def test_the_same_key_gives_the_same_pairs(pairs, atlas):
    again = render_pairs(jax.random.key(3), atlas, 0.3, config=CONFIG, batch=BATCH)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(again), pairs)


@pytest.mark.parametrize("pair", range(BATCH))
def test_depth_and_pose_lead_from_one_image_into_the_other(pairs, pair):
    # On a plane 1 / z is linear in the pixel: what lies between four pixels is known exactly.
    one = {name: value[pair] for name, value in pairs.items()}
    y, x = (a.ravel() for a in np.mgrid[:64, :96])
    points = np.stack([x, y], axis=1).astype(np.float32)
    depth = one["depth0"].ravel()
    points1, z1 = (
        np.asarray(a) for a in warp_by_depth(points, depth, one["K0"], one["K1"], one["T_0to1"])
    )
    inside = (z1 > 0) & (points1 >= 0).all(axis=1) & (points1 < [94, 62]).all(axis=1)
    assert inside.sum() > 200
    points1, z1 = points1[inside], z1[inside]
    u, v = np.floor(points1).astype(int).T
    near = np.stack([one["depth1"][v + dy, u + dx] for dy in (0, 1) for dx in (0, 1)])
    flat = (near > 0).all(axis=0) & (np.ptp(near, axis=0) < 0.1 * near.min(axis=0))
    fx, fy = (points1 - np.floor(points1)).T
    weight = np.stack([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy])
    between = 1 / (weight / np.maximum(near, 1e-6)).sum(axis=0)
    error = np.abs(between / z1 - 1)[flat]
    seen = error < 0.05  # the others are hidden by something nearer
    assert seen.sum() > 50
    assert np.median(error[seen]) < 1e-3


def test_a_world_of_no_known_kind_is_refused():
    with pytest.raises(ValueError, match="kinds must be some of"):
        WorldConfig(kinds=("ocean",))
