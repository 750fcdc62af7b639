"""The demonstration's pair: its truth is true."""

import numpy as np
import pytest

from astr_jax.data import demo
from astr_jax.data.town import paint_town
from astr_jax.geometry import warp_points


@pytest.fixture(scope="module")
def dotted():
    """A dark photograph with bright discs, seen by the demo's cameras, and the discs' centres."""
    y, x = np.mgrid[:600, :800]
    centres = np.array([[200, 150], [420, 160], [300, 320], [520, 300], [400, 450]], float)
    discs = [np.hypot(x - cx, y - cy) < 6 for cx, cy in centres]
    photo = np.where(np.any(discs, axis=0), 255, 20).astype(np.uint8)
    return np.repeat(photo[..., None], 3, axis=-1), centres


def centroid(image, point, reach=12):
    """The bright pixels' centre of mass around a point (x, y)."""
    x0, y0 = np.round(point).astype(int) - reach
    patch = image[y0 : y0 + 2 * reach + 1, x0 : x0 + 2 * reach + 1].mean(axis=-1) - 20
    y, x = np.mgrid[: patch.shape[0], : patch.shape[1]]
    patch = np.clip(patch, 0, None)
    return np.array([x0 + (x * patch).sum() / patch.sum(), y0 + (y * patch).sum() / patch.sum()])


def test_rendering_puts_every_point_where_the_view_says(dotted):
    photo, centres = dotted
    view = demo.view((399.5, 299.5), 0.8, tilt=20.0, axis=80.0, roll=10.0)
    image, visible = demo.render(photo, view)
    for expected in warp_points(view, centres, signed=True):
        assert visible[tuple(np.round(expected).astype(int)[::-1])]
        # Perspective moves the centre of mass of a disc by a few hundredths.
        np.testing.assert_allclose(centroid(image, expected), expected, atol=0.15)


def test_the_view_changes_as_documented():
    # The axis of a view is the ray of its principal point: compare their angles and zooms.
    size = np.array(demo.SIZE[::-1])
    middle = np.array([399.5, 299.5])
    views = [
        demo.view((399.5, 299.5), zoom, tilt=tilt, axis=80.0, roll=0.0)
        for zoom, tilt in ((1.0, -6.0), (demo.SCALE, demo.VIEW_CHANGE - 6.0))
    ]
    axes = []
    for view in views:
        focal = 1.2 * demo.SIZE[1]
        K = np.diag([focal, focal, 1.0])
        K[:2, 2] = (size - 1) / 2
        rotation = np.linalg.inv(K) @ view
        normal = np.cross(rotation[:, 0], rotation[:, 1])
        axes.append(normal / np.linalg.norm(normal))
    angle = np.degrees(np.arccos(axes[0] @ axes[1]))
    assert angle == pytest.approx(demo.VIEW_CHANGE, abs=1e-6)
    # Along the tilt's own axis the zoom at the target is the named one.
    step = 0.01 * np.array([np.cos(np.radians(80)), np.sin(np.radians(80))])
    ends = np.stack([middle + step, middle - step])
    spans = [np.linalg.norm(np.subtract(*warp_points(v, ends, signed=True))) for v in views]
    assert spans[1] / spans[0] == pytest.approx(demo.SCALE, rel=1e-3)


def test_errors_are_distances_to_the_truth(dotted):
    pair = demo.demo_pair(dotted[0])
    points = np.array([[200.0, 150.0], [400.0, 300.0]])
    there = warp_points(pair.homography, points, signed=True)
    np.testing.assert_allclose(
        demo.errors(pair, points, there + np.array([[3, 4], [0, 1]])), [5, 1]
    )


def test_a_pair_of_another_size_shows_the_same(dotted):
    photo, _ = dotted
    pair, small = demo.demo_pair(photo), demo.demo_pair(photo, size=(240, 320))
    assert small.image0.shape == small.image1.shape == (240, 320, 3)
    points = np.array([[200.0, 150.0], [400.0, 300.0]])
    there = demo.located(small, (points + 0.5) / 2 - 0.5)
    np.testing.assert_allclose(there, (demo.located(pair, points) + 0.5) / 2 - 0.5)


def test_both_images_show_one_scene(dotted):
    photo, _ = dotted
    pair = demo.demo_pair(photo)
    y, x = np.mgrid[: demo.SIZE[0], : demo.SIZE[1]]
    bright = pair.image0.mean(axis=-1) > 180
    points = np.stack([x[bright], y[bright]], axis=-1)
    points = points[demo.covisible(pair, points)]
    assert len(points) > 100
    x1, y1 = warp_points(pair.homography, points, signed=True).round().astype(int).T
    assert (pair.image1[y1, x1].mean(axis=-1) > 70).mean() > 0.9  # against 20 elsewhere


def test_what_one_image_does_not_show_is_not_covisible(dotted):
    pair = demo.demo_pair(dotted[0])
    y, x = np.mgrid[: demo.SIZE[0] : 8, : demo.SIZE[1] : 8]
    points = np.stack([x.ravel(), y.ravel()], axis=-1)
    shared = demo.covisible(pair, points)
    there = warp_points(pair.homography, points, signed=True)
    inside = (there >= 0).all(axis=1) & (there <= np.array(demo.SIZE[::-1]) - 1).all(axis=1)
    assert 0.3 < shared.mean() < 0.95
    assert not (shared & ~inside).any()


def test_the_town_is_the_same_every_time_and_full_of_detail():
    town = paint_town(size=(240, 320))
    np.testing.assert_array_equal(town, paint_town(size=(240, 320)))
    assert (town.shape, town.dtype) == ((240, 320, 3), np.uint8)
    tiles = town.mean(axis=-1)[:240, :320].reshape(15, 16, 20, 16).std(axis=(1, 3))
    assert tiles.min() > 2
    assert (town != paint_town(seed=8, size=(240, 320))).mean() > 0.5
