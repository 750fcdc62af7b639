import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.ops import grids


def test_cells_are_numbered_row_by_row():
    np.testing.assert_array_equal(
        grids.cell_xy(jnp.array([0, 4, 5, 11]), 5), [[0, 0], [4, 0], [0, 1], [1, 2]]
    )


def test_the_centre_of_a_cell_is_stride_times_its_place():
    centres = grids.cell_centres(jnp.array([0, 7]), width=5, stride=8)
    np.testing.assert_array_equal(centres, [[0, 0], [16, 8]])


def test_every_centre_is_nearest_to_its_own_cell():
    cells = jnp.arange(12)
    points = grids.cell_centres(cells, 4, 8) + jnp.array([[3.9, -3.9]])
    np.testing.assert_array_equal(grids.nearest_cells(points, (3, 4), 8), cells)


def test_points_outside_the_grid_have_no_cell():
    outside = jnp.array(
        [[-5.0, 0], [0, -5], [29, 0], [0, 21], [1e9, 0], [-jnp.inf, 3], [0, jnp.inf]]
    )
    assert (grids.nearest_cells(outside, (3, 4), 8) == -1).all()
    inside = jnp.array([[-3.9, -3.9], [27.9, 19.9]])  # within half a cell of the outer centres
    np.testing.assert_array_equal(grids.nearest_cells(inside, (3, 4), 8), [0, 11])


@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (1, 0), (0, -2), (-2, 1), (2, 2)])
def test_shifting_reads_the_neighbour_and_fills_beyond_the_edge(rng, dy, dx):
    x = rng.normal(size=(3, 4, 2)).astype(np.float32)
    actual = grids.shifted(jnp.asarray(x), dy, dx, fill=9)
    for v, u in np.ndindex(3, 4):
        inside = 0 <= v + dy < 3 and 0 <= u + dx < 4
        np.testing.assert_array_equal(actual[v, u], x[v + dy, u + dx] if inside else 9)


@pytest.mark.parametrize("reach", [0, 1, 2])
def test_erosion_keeps_cells_whose_whole_square_is_valid(rng, reach):
    mask = rng.random((9, 11)) < 0.93
    actual = np.asarray(grids.eroded(jnp.asarray(mask), reach))
    framed = np.pad(mask, reach, constant_values=False)
    side = 2 * reach + 1
    expected = [[framed[y : y + side, x : x + side].all() for x in range(11)] for y in range(9)]
    np.testing.assert_array_equal(actual, expected)
    assert actual.any()


def plain_bilinear(image, mask, point):
    """The mean of the valid ones of the four cells around, by their bilinear shares."""
    x0, y0 = np.floor(point).astype(int)
    total, weight = np.zeros(image.shape[-1]), 0.0
    for y in (y0, y0 + 1):
        for x in (x0, x0 + 1):
            share = (1 - abs(x - point[0])) * (1 - abs(y - point[1]))
            if 0 <= y < image.shape[0] and 0 <= x < image.shape[1] and mask[y, x]:
                total, weight = total + share * image[y, x], weight + share
    return (total / weight, True) if weight > 1e-6 else (0 * total, False)


def test_bilinear_samples_agree_with_a_plain_loop(rng):
    image = rng.normal(size=(5, 6, 3)).astype(np.float32)
    mask = rng.random((5, 6)) < 0.6
    points = rng.uniform(-2, 8, (300, 2))
    points[:30] = rng.integers(-2, 8, (30, 2))  # on the cells themselves, and outside
    points[30:33] = [[1e7, 2], [-1e7, 2], [2, -1e7]]
    points = points.astype(np.float32)
    samples, valid = jax.jit(grids.sample_bilinear)(image, mask, points)
    expected = [plain_bilinear(image.astype(float), mask, p.astype(float)) for p in points]
    np.testing.assert_array_equal(valid, [v for _, v in expected])
    np.testing.assert_allclose(samples, np.stack([s for s, _ in expected]), atol=2e-5)
    assert 0.2 < np.mean(valid) < 0.8  # both kinds were seen


def test_a_linear_map_is_sampled_exactly_between_its_cells():
    y, x = np.mgrid[:4, :5].astype(np.float32)
    image, mask = jnp.asarray(np.stack([x, y], axis=-1)), jnp.ones((4, 5), bool)
    points = jnp.array([[0.25, 2.5], [3.75, 0.125], [4, 3]])
    samples, valid = grids.sample_bilinear(image, mask, points)
    np.testing.assert_allclose(samples, points, atol=1e-6)
    assert valid.all()


def test_the_long_side_is_that_of_the_image_within_its_padding():
    mask = np.zeros((4, 96, 128), bool)
    mask[0, :60, :40] = True
    mask[1, :60, :90] = True
    mask[1, 50:, 80:] = False  # a hole in a corner is not padding
    mask[2] = True
    np.testing.assert_array_equal(grids.long_sides(mask), [60, 90, 128, 128])


def test_the_cells_about_a_point_are_bilinear_and_valid(rng):
    """Fails where a weight of an invalid cell is kept, or a cell beyond the edge is one."""
    mask = rng.random((5, 7)) < 0.8
    points = rng.uniform(-12, 70, (300, 2)).astype(np.float32)
    cells, weights = map(np.asarray, grids.cells_around(points, jnp.asarray(mask), 8))
    some = 0
    for point, near, weight in zip(points / 8, cells, weights, strict=True):
        expected = {}
        for y, x in np.argwhere(mask):
            share = np.maximum(1 - np.abs(point - (x, y)), 0).prod()
            if share > 1e-3:
                expected[y * 7 + x] = share
        total = sum(expected.values())
        found = {c: w for c, w in zip(near, weight, strict=True) if c >= 0}
        if total > 0.5:
            some += 1
            assert found.keys() == expected.keys()
            for cell, share in expected.items():
                np.testing.assert_allclose(found[cell], share / total, atol=1e-4)
        else:
            assert not found
            assert not weight.any()
    assert some > 50
