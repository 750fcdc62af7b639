"""Synthetic worlds: what is drawn, and that images, depth, pose and supervision agree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.data.worlds import EXACT_TOLERANCE, KINDS, WorldConfig, make_atlas, render_pairs
from astr_jax.data.worlds.draw import Draw
from astr_jax.data.worlds.pairs import draw_shots
from astr_jax.data.worlds.surfaces import trace
from astr_jax.ops.geometry import warp_by_depth
from astr_jax.supervision import DepthTruth

HEIGHT, WIDTH, BATCH = 64, 96, 48
CONFIG = WorldConfig(height=HEIGHT, width=WIDTH)
EASY, HARD = jnp.float32(0.3), jnp.float32(1.0)  # difficulties; one compiled program for both


@pytest.fixture(scope="module")
def atlas():
    rng = np.random.default_rng(0)
    return make_atlas([rng.integers(0, 256, (64, 64), dtype=np.uint8) for _ in range(3)], side=32)


def render(atlas, difficulty):
    """The pairs, and the kind of each."""
    rendered = render_pairs(jax.random.key(3), atlas, difficulty, config=CONFIG, batch=BATCH)
    return jax.device_get(rendered)


@pytest.fixture(scope="module")
def easy(atlas):
    return render(atlas, EASY)


@pytest.fixture(scope="module")
def pairs(easy):
    return easy[0]


@pytest.fixture(scope="module")
def hard(atlas):
    """The truth of hard pairs."""
    return render(atlas, HARD)[0].truth


@pytest.fixture(scope="module")
def hard_shots(atlas):
    """What the hard pairs show: their worlds and cameras."""
    keys = jax.random.split(jax.random.key(3), BATCH)
    with jax.numpy_rank_promotion("allow"):
        return jax.jit(jax.vmap(lambda k: draw_shots(k, atlas, HARD, CONFIG)))(keys)


def seen_by_both(depth0, depth1, K0, K1, cam1_from_cam0):
    """The depths, in both images, of the pixels of image 0 that image 1 sees too, float64."""
    y, x = np.nonzero(depth0)
    z0 = depth0[y, x].astype(np.float64)
    local = cam1_from_cam0[:3, :3] @ (np.linalg.inv(K0) @ np.stack([x, y, np.ones_like(x)]) * z0)
    local += cam1_from_cam0[:3, 3:]
    z1 = np.where(local[2] > 0, local[2], np.inf)
    u, v = np.rint((K1 @ local / z1)[:2])
    inside = (z1 < np.inf) & (u >= 0) & (u < WIDTH) & (v >= 0) & (v < HEIGHT)
    u, v = (np.where(inside, a, 0).astype(int) for a in (u, v))
    # Slanted surfaces change their depth within a pixel: the farthest about it counts.
    padded = np.pad(depth1, 1)
    farthest = np.max([padded[i:, j:][v, u] for i in range(3) for j in range(3)], axis=0)
    seen = inside & (z1 < 1.02 * farthest)
    return z0[seen], z1[seen]


@pytest.fixture(scope="module")
def common(hard):
    """Of each hard pair: the larger share of pixels that both images see, and the median ratio of
    their depths, the larger by the smaller."""
    shares, ratios = [], []
    for i in range(BATCH):
        depth0, depth1, K0, K1 = (x[i] for x in (hard.depth0, hard.depth1, hard.K0, hard.K1))
        T = hard.cam1_from_cam0[i]
        z0, z1 = seen_by_both(depth0, depth1, K0, K1, T)
        back, _ = seen_by_both(depth1, depth0, K1, K0, np.linalg.inv(T))
        shares.append(max(len(z0) / (depth0 > 0).sum(), len(back) / (depth1 > 0).sum()))
        ratios.append(np.exp(abs(np.median(np.log(z0 / z1)))))
    return np.array(shares), np.array(ratios)


def test_a_batch_has_images_depth_cameras_and_pose(easy):
    pairs, kinds = easy
    truth = pairs.truth
    for image, depth in ((pairs.image0, truth.depth0), (pairs.image1, truth.depth1)):
        assert image.shape == depth.shape == (BATCH, HEIGHT, WIDTH)
        assert image.dtype == np.uint8
        assert image.std(axis=(1, 2)).min() > 5  # there is something to see
        assert np.isfinite(depth).all()
        assert depth.min() >= 0
        assert ((depth > 0).mean(axis=(1, 2)) > 0.2).all()
    np.testing.assert_array_equal(truth.tolerance, np.full(BATCH, EXACT_TOLERANCE, np.float32))
    R = truth.cam1_from_cam0[:, :3, :3]
    np.testing.assert_allclose(R @ R.swapaxes(1, 2), np.tile(np.eye(3), (BATCH, 1, 1)), atol=1e-5)
    assert set(kinds.tolist()) == set(range(len(KINDS)))  # every kind is among them


def test_the_same_key_gives_the_same_pairs(easy, atlas):
    jax.tree.map(np.testing.assert_array_equal, render(atlas, EASY), easy)


@pytest.mark.parametrize("pair", range(4))
def test_depth_and_pose_lead_from_one_image_into_the_other(pairs, pair):
    # On a plane 1 / z is linear in the pixel: what lies between four pixels is known exactly.
    one = pairs[pair].truth
    y, x = (a.ravel() for a in np.mgrid[:HEIGHT, :WIDTH])
    points = np.stack([x, y], axis=1).astype(np.float32)
    depth = one.depth0.ravel()
    points1, z1 = (
        np.asarray(a) for a in warp_by_depth(points, depth, one.K0, one.K1, one.cam1_from_cam0)
    )
    inside = (z1 > 0) & (points1 >= 0).all(axis=1) & (points1 < [WIDTH - 2, HEIGHT - 2]).all(axis=1)
    assert inside.sum() > 200
    points1, z1 = points1[inside], z1[inside]
    u, v = np.floor(points1).astype(int).T
    near = np.stack([one.depth1[v + dy, u + dx] for dy in (0, 1) for dx in (0, 1)])
    flat = (near > 0).all(axis=0) & (np.ptp(near, axis=0) < 0.1 * near.min(axis=0))
    fx, fy = (points1 - np.floor(points1)).T
    weight = np.stack([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy])
    between = 1 / (weight / np.maximum(near, 1e-6)).sum(axis=0)
    error = np.abs(between / z1 - 1)[flat]
    seen = error < 0.05  # the others are hidden by something nearer
    assert seen.sum() > 50
    assert np.median(error[seen]) < 1e-3


def test_overlaps_are_spread_evenly_and_none_is_near_zero(common):
    shares, _ = common
    quartiles = np.quantile(shares, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(quartiles, [0.3, 0.5, 0.7], atol=0.15)  # wanted: 0.1 to 0.9
    assert shares.min() > 0.05
    assert shares.max() > 0.75


def test_depth_ratios_reach_four_and_hardly_exceed_it(common):
    _, ratios = common
    assert (ratios > 3).mean() > 0.05
    assert (ratios < 1.5).mean() > 0.15
    assert ratios.max() < 5


def test_cameras_are_turned_about_their_axis_at_the_set_rate(hard_shots):
    turn = np.asarray(hard_shots.cameras.turn)
    roll = np.degrees(np.arctan2(turn[:, :, 0, 2], -turn[:, :, 1, 2]))
    rolls = np.sort(np.abs(roll), axis=1)  # one camera of a pair is always almost upright
    assert rolls[:, 0].max() < CONFIG.easy_rotation
    assert rolls[:, 1].max() < CONFIG.max_rotation
    expected = CONFIG.rotation_rate * (1 - CONFIG.easy_rotation / CONFIG.max_rotation)
    deviation = np.sqrt(expected * (1 - expected) / BATCH)
    assert abs((rolls[:, 1] > CONFIG.easy_rotation).mean() - expected) < 3 * deviation


@pytest.fixture(scope="module")
def truth(hard):
    return jax.device_get(jax.vmap(DepthTruth.ground_truth)(hard))


def cells_in_the_world(hard, cameras):
    """World points [b 3 n] of the coarse cells of image 0, and their pixels in image 1, float64."""
    y, x = (8 * a.ravel() for a in np.mgrid[: HEIGHT // 8, : WIDTH // 8])
    cameras = jax.tree.map(lambda a: np.asarray(a, np.float64), cameras)
    K, turn, eye = cameras.K, cameras.turn, cameras.eye[..., None]
    pixels = np.broadcast_to(np.stack([x, y, np.ones_like(x)]), (BATCH, 3, x.size))
    local = np.linalg.inv(K[:, 0]) @ pixels * hard.depth0[:, None, y, x]
    world = turn[:, 0].swapaxes(1, 2) @ local + eye[:, 0]
    image = K[:, 1] @ turn[:, 1] @ (world - eye[:, 1])
    return world, (image[:, :2] / image[:, 2:]).swapaxes(1, 2)


def test_supervised_points_are_those_of_depth_intrinsics_and_pose(hard, hard_shots, truth):
    y, x = (8 * a.ravel() for a in np.mgrid[: HEIGHT // 8, : WIDTH // 8])
    given = hard.cam1_from_cam0, hard.K0, hard.K1, hard.depth0
    T, K0, K1, depth = (x.astype(np.float64) for x in given)
    rays = np.linalg.inv(K0) @ np.stack([x, y, np.ones_like(x)])
    image = K1 @ (T[:, :3, :3] @ (rays * depth[:, None, y, x]) + T[:, :3, 3:])
    by_pose = (image[:, :2] / np.where(image[:, 2:] == 0, 1, image[:, 2:])).swapaxes(1, 2)
    _, by_world = cells_in_the_world(hard, hard_shots.cameras)
    assert truth.visible.sum() > 5 * BATCH
    np.testing.assert_allclose(truth.points1[truth.visible], by_pose[truth.visible], atol=1e-3)
    np.testing.assert_allclose(truth.points1[truth.visible], by_world[truth.visible], atol=1e-3)


def test_what_another_surface_hides_is_not_supervised(hard, hard_shots, truth):
    world, pixels = cells_in_the_world(hard, hard_shots.cameras)

    def first_met(scene, eye, points):
        return trace(scene, eye[:, None], points - eye[:, None])[0]

    with jax.numpy_rank_promotion("allow"):
        given = hard_shots.scene, hard_shots.cameras.eye[:, 1], jnp.asarray(world, jnp.float32)
        reach = np.asarray(jax.jit(jax.vmap(first_met))(*given))  # 1: as far as the point
    assert (reach[truth.visible] > 0.95).mean() > 0.985
    assert (reach[truth.cell1 >= 0] > 0.95).mean() > 0.99
    # Depth is read at the nearest pixel. Where no edge is near, nothing hidden is supervised.
    pair, cell = np.nonzero(truth.visible)
    x, y = np.rint(pixels[pair, cell]).astype(int).T
    around = np.stack(
        [
            hard.depth1[pair, np.clip(y + i, 0, HEIGHT - 1), np.clip(x + j, 0, WIDTH - 1)]
            for i in (-1, 0, 1)
            for j in (-1, 0, 1)
        ]
    )
    smooth = around.min(axis=0) > 0.97 * around.max(axis=0)
    assert smooth.mean() > 0.4
    # The depth there differs by less than the tolerance of itself, which is the smaller one.
    assert reach[pair, cell][smooth].min() > 0.98 / (1 + EXACT_TOLERANCE)


def test_more_random_numbers_than_there_are_is_an_error():
    draw = Draw(jax.random.key(0), 3)
    assert draw.uniform(1.0, 2.0, (3,)).min() >= 1.0
    with pytest.raises(ValueError, match="give Draw more"):
        draw.uniform(0.0, 1.0)


def test_depth_ratios_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match="min_depth_ratio <= easy_depth_ratio"):
        WorldConfig(min_depth_ratio=2.0)


def test_a_world_of_no_known_kind_is_refused():
    with pytest.raises(ValueError, match="kinds must be some of"):
        WorldConfig(kinds=("ocean",))
