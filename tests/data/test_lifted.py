"""Lifted photographs: the nearest plane wins, textures follow the truth, keys repeat."""

import cv2
import jax
import numpy as np
import pytest

from astr_jax.data.lifted import LayersConfig, LiftedConfig, LiftedPairs
from astr_jax.data.lifted.layers import Layers, draw_layout, rays_of
from astr_jax.data.lifted.render import paint, see
from astr_jax.data.lifted.views import plane_views
from astr_jax.data.photometry import PhotometricConfig
from astr_jax.geometry import warp_points
from astr_jax.supervision import NOTHING, LayersTruth

SIZE = (96, 128)
NO_LIGHT = PhotometricConfig(
    **{f"{name}_probability": 0.0 for name in ("occlusion", "shadow", "gradient", "tone")},
    **{f"{name}_probability": 0.0 for name in ("gaussian_blur", "motion_blur", "noise", "jpeg")},
)
K = np.array([[120.0, 0, 63.5], [0, 120, 47.5], [0, 0, 1]])


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (3, 40, 56), dtype=np.uint8)
    return [cv2.resize(image, (224, 160), interpolation=cv2.INTER_CUBIC) for image in noise]


@pytest.fixture(scope="module")
def pairs(photos):
    config = LiftedConfig(height=SIZE[0], width=SIZE[1], light=NO_LIGHT)
    data = LiftedPairs(photos, config, seed=5)
    return [data.pair(k, 1.0) for k in range(12)]


def pixels(size):
    return np.argwhere(np.ones(size, bool))[:, ::-1].astype(float)


def two_planes():
    """A wall at depth 2 with a square before it at depth 1; as one camera sees it."""
    layer = np.zeros(SIZE, np.uint8)
    layer[32:64, 48:80] = 1
    nothing = np.full(SIZE, NOTHING, np.uint8)
    photo = np.random.default_rng(0).integers(0, 256, SIZE, dtype=np.uint8)
    planes = np.array([[0, 0, 0.5], [0, 0, 1.0]])
    return Layers(photo, layer, photo, nothing, planes, 2, np.tile(np.eye(4), (2, 1, 1)), K)


def test_a_camera_that_steps_aside_sees_the_nearer_plane_move_twice_as_far():
    layers, pose = two_planes(), np.eye(4)
    pose[0, 3] = -0.1  # the camera goes right: depth 1 moves by 12 pixels to the left, depth 2 by 6
    views = plane_views(layers, K, pose)
    seen = see(layers, *views, K, SIZE)
    expected = np.full(SIZE, NOTHING, np.uint8)
    expected[:, :122] = 0
    expected[32:64, 42:74] = NOTHING  # where the square was, six pixels to the left
    expected[32:64, 36:68] = 1
    np.testing.assert_array_equal(seen.layer, expected)
    y, x = np.nonzero(expected == 1)
    np.testing.assert_allclose(seen.x[y, x], x + 12, atol=1e-3)
    np.testing.assert_allclose(seen.level[expected != NOTHING], 0, atol=1e-3)
    image = paint(layers, seen, np.full(SIZE, 7, np.uint8))
    np.testing.assert_array_equal(image[34:62, 38:66], layers.photo[34:62, 50:78])
    assert (image[34:62, 70:72] == 7).all()  # what the square uncovers


def test_a_camera_that_goes_forward_spreads_the_nearer_plane_more():
    layers, pose = two_planes(), np.eye(4)
    pose[2, 3] = -0.5
    homographies, planes1, front = plane_views(layers, K, pose)
    centre = np.array([[63.5, 47.5]])
    for k, spread in ((0, 2 / 1.5), (1, 2.0)):
        away = warp_points(homographies[k], centre + 10.0) - centre
        np.testing.assert_allclose(away, spread * 10, atol=1e-9)
    np.testing.assert_allclose(planes1[:, 2], [1 / 1.5, 2.0])
    assert front.all()
    pose[2, 3] = -1.2  # past the square
    assert plane_views(layers, K, pose)[2].tolist() == [True, False]


def test_the_planes_of_a_layout_meet_without_a_gap():
    rays = rays_of((120, 160), K, 1)
    for seed in range(30):
        planes, layer = draw_layout(rays, np.random.default_rng(seed))
        inverse = np.take_along_axis(rays @ planes.T, layer[..., None].astype(int), -1)[..., 0]
        assert inverse.min() > 0
        steepest = np.abs(planes[:, :2]).max() / K[0, 0]
        assert np.abs(np.diff(inverse, axis=1)).max() <= steepest + 1e-9
        assert np.abs(np.diff(inverse, axis=0)).max() <= steepest + 1e-9


def test_textures_follow_the_truth(pairs):
    shares = []
    for pair in pairs:
        points1, seen = map(np.asarray, pair.truth.locate(pixels(SIZE)))
        x, y = (points1.T.reshape(2, *SIZE)).astype(np.float32)
        again = cv2.remap(pair.image1, x, y, cv2.INTER_LINEAR).astype(float)
        inner = cv2.erode(seen.reshape(SIZE).view(np.uint8), np.ones((5, 5))) > 0
        shares.append(inner.mean())
        if inner.sum() > 200:
            true, found = pair.image0[inner].astype(float), again[inner]
            assert np.corrcoef(true, found)[0, 1] > 0.9
    assert np.mean(shares) > 0.2


def test_both_ways_of_a_pair_agree(pairs):
    for pair in pairs[:4]:
        truth = pair.truth
        back = LayersTruth(np.linalg.inv(truth.homographies), truth.layer1, truth.layer0)
        points0 = pixels(SIZE)
        points1, seen = map(np.asarray, truth.locate(points0))
        again, back_seen = (np.asarray(x)[seen] for x in back.locate(points1))
        same = np.abs(again - points0[seen]).max(axis=-1) < 1e-2
        # Where a plane's edge runs through a pixel, its nearest neighbour may show another plane.
        assert same.mean() > 0.95
        assert (same == back_seen).mean() > 0.95


def test_there_is_more_than_one_plane_and_something_is_hidden(pairs):
    layers = [len(np.setdiff1d(np.unique(pair.truth.layer0), [NOTHING])) for pair in pairs]
    assert np.mean(layers) > 2
    assert sum((pair.truth.layer1 == NOTHING).any() for pair in pairs) > 3


def test_a_key_gives_the_same_pair_and_another_one_another(photos):
    config = LiftedConfig(height=64, width=96)
    data, again = (LiftedPairs(photos, config, seed=5) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, data.pair(3, 0.5), again.pair(3, 0.5))
    assert (data.pair(3, 0.5).image0 != data.pair(4, 0.5).image0).any()
    batch = data.stack(range(2), 0.5)
    assert batch.truth.homographies.shape == (2, config.layers.capacity, 3, 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"height": 16}, "at least 32"),
        ({"max_view_angle": 90}, "max_view_angle must be in"),
        ({"max_approach": 0.5}, "at least 1"),
        ({"min_overlap": 2}, "min_overlap must be in"),
    ],
)
def test_nonsense_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        LiftedConfig(**changes)
    with pytest.raises(ValueError, match="regions must be in"):
        LayersConfig(regions=0)
