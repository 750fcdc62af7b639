import cv2
import numpy as np
import pytest

from astr_jax.data import cameras
from astr_jax.geometry import warp_points

SIZE = (60, 80)
TILTED = {
    "target": (41.0, 33.0), "zoom": 0.8, "tilt": 0.7, "tilt_axis": 0.4,
    "roll": 0.3, "focal": 100.0, "size": SIZE,
}  # fmt: skip
GAZE = {**TILTED, "tilt": 1.4, "tilt_axis": 0.0}  # along the photograph: the horizon is in view


def project(points, *, target, zoom, tilt, tilt_axis, roll, focal, size):
    """Plain three-dimensional reference: turn about the axis by Rodrigues' formula, roll, project.

    Returns image points [n 2] and depths [n].
    """
    axis = np.array([np.cos(tilt_axis), np.sin(tilt_axis), 0])
    image, depths = [], []
    for x, y in points:
        p = np.array([x - target[0], y - target[1], 0.0])
        p = (
            p * np.cos(tilt)
            + np.cross(axis, p) * np.sin(tilt)
            + axis * (axis @ p) * (1 - np.cos(tilt))
        )
        c, s = np.cos(roll), np.sin(roll)
        x, y, z = c * p[0] - s * p[1], s * p[0] + c * p[1], p[2] + focal / zoom
        image.append((focal * x / z + (size[1] - 1) / 2, focal * y / z + (size[0] - 1) / 2))
        depths.append(z)
    return np.array(image), np.array(depths)


def test_a_view_is_a_camera_in_space():
    points = np.random.default_rng(0).uniform(0, 80, (30, 2))
    view = cameras.view_from_photo(**TILTED)
    expected, depth = project(points, **TILTED)
    np.testing.assert_allclose(warp_points(view, points, signed=True), expected)
    np.testing.assert_allclose((np.c_[points, np.ones(30)] @ view.T)[:, 2], depth)


def test_the_target_is_seen_at_the_centre_of_the_image():
    view = cameras.view_from_photo(**TILTED)
    seen = warp_points(view, np.array([TILTED["target"]]), signed=True)
    np.testing.assert_allclose(seen, [[39.5, 29.5]])


@pytest.mark.parametrize("camera", [TILTED, GAZE])
def test_inside_is_where_the_ray_meets_the_photograph_before_the_camera(camera):
    view, photo_size = cameras.view_from_photo(**camera), (70, 90)
    inside = cameras.inside_photo(view, photo_size, SIZE)
    assert 0.02 < inside.mean() < 0.98
    v, u = np.indices(SIZE)
    x, y, w = np.linalg.inv(view) @ np.stack([u.ravel(), v.ravel(), np.ones(u.size)])
    x, y = x / w, y / w
    on_photo = (x >= 0) & (x <= 89) & (y >= 0) & (y <= 69)
    before = project(np.stack([x, y], -1), **camera)[1] > 0
    np.testing.assert_array_equal(inside.ravel(), on_photo & before)


def test_a_view_of_the_horizon_has_no_bounded_depth_range():
    assert cameras.depth_range(cameras.view_from_photo(**GAZE), SIZE) == np.inf
    view = cameras.view_from_photo(**TILTED)
    corners = warp_points(np.linalg.inv(view), cameras.frame(SIZE), signed=True)
    depth = project(corners, **TILTED)[1]
    assert cameras.depth_range(view, SIZE) == pytest.approx(depth.max() / depth.min())


def test_views_side_by_side_share_half():
    straight = {**TILTED, "tilt": 0.0, "roll": 0.0, "zoom": 1.0}
    view0 = cameras.view_from_photo(**{**straight, "target": (200.0, 200.0)})
    view1 = cameras.view_from_photo(**{**straight, "target": (239.5, 200.0)})
    apart = cameras.view_from_photo(**{**straight, "target": (300.0, 200.0)})
    assert cameras.common_shares(view0, view1, (400, 400), SIZE) == pytest.approx((0.5, 0.5))
    assert cameras.common_shares(view0, apart, (400, 400), SIZE) == (0.0, 0.0)
    half_photo = (400, 201)  # ends at x = 200, the centre of view 0
    assert cameras.common_shares(view0, view0, half_photo, SIZE) == pytest.approx((0.5, 0.5))


def wave(x, y):
    return 128 + 60 * np.sin(x / 9.0) + 50 * np.cos(y / 11.0 + x / 30.0)


@pytest.mark.parametrize(("zoom", "tilt"), [(2.0, 0.0), (1.0, 0.5), (0.6, 0.3), (0.45, 1.0)])
def test_render_shows_what_lies_at_each_pixel(zoom, tilt):
    y, x = np.indices((300, 400))
    photo = np.rint(wave(x, y)).astype(np.uint8)
    view = cameras.view_from_photo(
        **{**TILTED, "target": (200.0, 150.0), "zoom": zoom, "tilt": tilt, "focal": 200.0}
    )
    v, u = np.indices(SIZE)
    seen = warp_points(np.linalg.inv(view), np.stack([u.ravel(), v.ravel()], -1), signed=True)
    inside = cameras.inside_photo(view, photo.shape, SIZE)
    difference = (cameras.render(photo, view, SIZE) - wave(*seen.T).reshape(SIZE))[inside]
    assert abs(difference.mean()) < 0.5
    assert np.abs(difference).mean() < 3  # a shift by half a pixel is 4 grey levels and more


@pytest.mark.parametrize(
    ("zoom", "tilt", "bound"), [(0.28, 0.0, 25), (0.13, 0.0, 25), (1.0, 1.1, 80)]
)
def test_render_does_not_alias_fine_stripes(zoom, tilt, bound):
    # The stripes are 4 pixels apart in the photograph, less than 2 in the image. Where only one
    # direction is made smaller, two samples a pixel are averaged, as far as a sensor goes.
    x = np.arange(400)
    stripes = np.tile(((x // 2) % 2 * 255).astype(np.uint8), (300, 1))
    pose = {"tilt": tilt, "tilt_axis": np.pi / 2, "roll": 0.0, "zoom": zoom, "focal": 800.0}
    view = cameras.view_from_photo(**{**TILTED, **pose, "target": (200.0, 150.0)})
    image = cameras.render(stripes, view, SIZE)
    naive = cv2.warpPerspective(stripes, view, SIZE[::-1], flags=cv2.INTER_LINEAR)
    inside = cameras.inside_photo(view, stripes.shape, SIZE)
    assert naive[inside].std() > 100
    assert image[inside].std() < bound
