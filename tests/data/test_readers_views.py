import cv2
import h5py
import numpy as np
import PIL.Image
import pytest

from astr_jax.data.readers import PosedDataset, PosedPair
from astr_jax.data.readers.bad_files import UnreadableFile
from astr_jax.data.readers.depths import SparseDepth, nearest, read_depth
from astr_jax.data.readers.views import View, fit_view, load_view, shrunk_intrinsics

K = np.array([[50.0, 0, 29.0], [0, 55.0, 21.0], [0, 0, 1]])


def save_turned(path, pixels, orientation):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    PIL.Image.fromarray(pixels).save(path, exif=exif)


def test_a_view_at_its_own_size_is_read_exactly(tmp_path, rng):
    pixels = rng.integers(0, 256, (40, 60), np.uint8)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    depth = rng.uniform(1, 9, (40, 60)).astype(np.float32)
    view = load_view(View("a", tmp_path / "a.png", K, depth), (40, 60))
    np.testing.assert_array_equal(view.image, pixels)
    np.testing.assert_array_equal(view.depth, depth)
    np.testing.assert_allclose(view.K, K, atol=1e-12)
    assert view.mask.all()


def test_the_canvas_is_padded_at_the_right_and_the_bottom(rng):
    pixels, depth = rng.integers(1, 256, (40, 60), np.uint8), np.ones((40, 60))
    view = load_view(View("a", pixels, K, depth), (64, 90))  # 1.5 times: 60 x 90
    assert view.image.shape == view.mask.shape == view.depth.shape == (64, 90)
    assert view.mask[:60].all()
    assert (view.depth[:60] == 1).all()
    for array in (view.image, view.mask, view.depth):
        assert not array[60:].any()


@pytest.mark.parametrize("size", [(30, 40), (96, 96), (35, 60)])
def test_the_working_image_shows_a_scene_point_where_its_intrinsics_say(size):
    """A picture whose grey is its column: a ray's pixel must have the same grey at every size."""
    h, w = 60, 80
    columns = np.tile(np.arange(w, dtype=np.uint8) * 3, (h, 1))
    view = fit_view(View("a", columns, K, columns.astype(np.float32) + 1), size)
    rays = np.array([[-0.3, 0, 1], [0.2, 0.1, 1], [0.6, 0.3, 1]])
    before, after = rays @ K.T, rays @ view.K.T
    x, y = after[:, 0], np.round(after[:, 1]).astype(int)
    grey = np.array([np.interp(u, np.arange(view.image.shape[1]), view.image[v])
                     for u, v in zip(x, y, strict=True)])  # fmt: skip
    np.testing.assert_allclose(grey, before[:, 0] * 3, atol=1.0)
    # Depth: the nearest pixel, so half a pixel of either image at most.
    taken = (view.depth[y, np.round(x).astype(int)] - 1) / 3
    half = 0.5 * max(1, w / view.image.shape[1]) + 0.5
    assert (np.abs(taken - before[:, 0]) <= half).all()


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_depth_and_camera_turn_with_the_picture(tmp_path, rng, orientation):
    pixels = rng.integers(0, 256, (40, 60), np.uint8)
    depth = rng.uniform(1, 9, (40, 60)).astype(np.float32)
    save_turned(tmp_path / "a.png", pixels, orientation)
    view = fit_view(View("a", tmp_path / "a.png", K, depth), None)
    with PIL.Image.open(tmp_path / "a.png") as picture:
        upright = np.asarray(PIL.ImageOps.exif_transpose(picture))
    np.testing.assert_array_equal(view.image, upright)
    for x, y in [(0, 0), (59, 0), (7, 33), (29, 21)]:
        point = np.linalg.inv(K) @ [x, y, 1] * depth[y, x]
        turned = view.K @ (view.upright_from_cam[:3, :3] @ point)
        u, v = np.round(turned[:2] / turned[2], 6).astype(int)
        np.testing.assert_allclose(turned[2], depth[y, x], rtol=1e-6)
        assert (view.image[v, u], view.depth[v, u]) == (pixels[y, x], depth[y, x])
    np.testing.assert_allclose(np.linalg.det(view.upright_from_cam), 1)
    assert view.K[0, 0] > 0
    assert view.K[1, 1] > 0


class OnePair(PosedDataset):
    def __init__(self, pair):
        self.pair = pair
        super().__init__(["one"])

    def read_scene(self, scene):
        return [self.pair]


def test_the_pose_leads_from_one_turned_picture_to_the_other(tmp_path, rng):
    cam1_from_cam0 = np.eye(4)
    cam1_from_cam0[:3, :3] = cv2.Rodrigues(np.array([0.1, -0.2, 0.3]))[0]
    cam1_from_cam0[:3, 3] = 0.2, -0.1, 0.05
    pictures = rng.integers(0, 256, (2, 40, 60), np.uint8)
    views = []
    for k, orientation in enumerate((6, 3)):
        save_turned(tmp_path / f"{k}.png", pictures[k], orientation)
        views.append(View(f"{k}", tmp_path / f"{k}.png", K, np.full((40, 60), 2.0)))
    dataset = OnePair(PosedPair("one", *views, cam1_from_cam0))
    arrays = dataset.load(dataset.pairs("one")[0], (60, 60))
    point0 = np.linalg.inv(K) @ [31, 17, 1] * 2.0
    x1, y1, z1 = K @ (cam1_from_cam0[:3, :3] @ point0 + cam1_from_cam0[:3, 3])
    u0, v0 = 40 - 1 - 17, 31  # a quarter turn with the clock
    u1, v1 = 60 - 1 - x1 / z1, 40 - 1 - y1 / z1  # half a turn
    assert arrays.image0[v0, u0] == pictures[0][17, 31]
    there = np.linalg.inv(arrays.truth.K0) @ [u0, v0, 1] * arrays.truth.depth0[v0, u0]
    moved = arrays.truth.K1 @ (
        arrays.truth.cam1_from_cam0[:3, :3] @ there + arrays.truth.cam1_from_cam0[:3, 3]
    )
    np.testing.assert_allclose(moved[:2] / moved[2], [u1, v1], atol=1e-3)


def test_a_pose_that_is_not_finite_is_refused():
    view = View("a", np.zeros((4, 4), np.uint8), K)
    with pytest.raises(UnreadableFile, match=r"one: a, a: the pose must be \[4 4\]"):
        PosedPair("one", view, view, np.full((4, 4), np.nan))


def test_a_mirroring_tag_is_refused(tmp_path):
    save_turned(tmp_path / "a.png", np.zeros((4, 6), np.uint8), 2)
    with pytest.raises(UnreadableFile, match=r"a\.png.*mirrors"):
        fit_view(View("a", tmp_path / "a.png", K), None)


def test_depth_of_another_shape_is_refused():
    with pytest.raises(UnreadableFile, match="40 x 60 does not belong to a picture of 60 x 40"):
        fit_view(View("a", np.zeros((40, 60), np.uint8), K, np.ones((60, 40))), None)


def test_intrinsics_of_the_depth_map_follow_its_size():
    picture, depth = np.zeros((80, 120), np.uint8), np.ones((40, 60), np.float32)
    view = fit_view(View("a", picture, K, depth, K_of_depth=True), None)
    np.testing.assert_allclose(view.K, shrunk_intrinsics(K, (0.5, 0.5)))
    np.testing.assert_allclose(view.K[:2, 2], [2 * 29 + 0.5, 2 * 21 + 0.5])


def test_intrinsics_without_a_focal_length_are_refused():
    with pytest.raises(UnreadableFile, match="focal lengths above 0"):
        View("a", np.zeros((4, 4), np.uint8), np.diag([0.0, 1, 1]))


def test_nearest_takes_the_pixel_whose_centre_is_nearest():
    np.testing.assert_array_equal(nearest(np.arange(6.0)[None], (1, 2)), [[1, 4]])
    np.testing.assert_array_equal(nearest(np.arange(2.0)[None], (1, 4)), [[0, 0, 1, 1]])


def test_every_depth_format_is_read_exactly(tmp_path, rng):
    depth = rng.integers(0, 9000, (7, 9)).astype(np.float32) / 1000
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["depth"] = depth
    cv2.imwrite(str(tmp_path / "a.png"), np.round(depth * 1000).astype(np.uint16))
    (tmp_path / "a.bin").write_bytes(b"9&7&1&" + depth.astype("<f4").tobytes())
    for suffix in ("h5", "png", "bin"):
        np.testing.assert_array_equal(read_depth(tmp_path / f"a.{suffix}"), depth)


def test_what_is_no_depth_counts_as_unknown():
    depth = np.array([[np.nan, np.inf, -1.0, 2.0]])
    np.testing.assert_array_equal(read_depth(depth), [[0, 0, 0, 2]])


@pytest.mark.parametrize("name", ["a.h5", "a.png", "a.bin"])
def test_missing_and_damaged_depth_is_named(tmp_path, name):
    with pytest.raises(UnreadableFile, match=f"{name}: there is no such depth file"):
        read_depth(tmp_path / name)
    (tmp_path / name).write_bytes(b"9&7&1&no depth at all")
    with pytest.raises(UnreadableFile, match=name) as caught:
        read_depth(tmp_path / name)
    assert caught.value.path == str(tmp_path / name)


def test_an_eight_bit_png_is_not_taken_for_depth(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.ones((3, 3), np.uint8))
    with pytest.raises(UnreadableFile, match=r"16-bit.*uint8"):
        read_depth(tmp_path / "a.png")


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_missing_and_damaged_pictures_are_named(tmp_path, content):
    if content is not None:
        (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UnreadableFile, match=r"a\.jpg"):
        fit_view(View("a", tmp_path / "a.jpg", K), None)


def test_sparse_depth_reaches_to_the_nearest_cell_centre_and_no_farther():
    sparse = SparseDepth(np.array([[10.0, 5.0], [30.0, 5.0]]), np.array([2.0, 3.0]), (20, 40))
    depth = sparse.to_map((20, 40))
    assert depth[5, 10] == depth[5, 14] == depth[1, 10] == 2
    assert depth[5, 30] == 3
    assert depth[5, 15] == depth[5, 20] == depth[10, 10] == 0
    assert ((sparse.to_map((10, 20)) > 0).sum() - (depth > 0).sum()) < 10  # reach is of the map
    assert not SparseDepth(np.zeros((0, 2)), np.zeros(0), (20, 40)).to_map((20, 40)).any()


def test_of_two_points_in_one_pixel_the_nearer_counts():
    sparse = SparseDepth(np.array([[3.2, 3.0], [2.9, 3.1]]), np.array([5.0, 2.0]), (8, 8))
    assert sparse.to_map((8, 8))[3, 3] == 2


def test_sparse_depth_turns_with_the_picture(tmp_path, rng):
    pixels = rng.integers(0, 256, (40, 60), np.uint8)
    save_turned(tmp_path / "a.png", pixels, 6)
    sparse = SparseDepth(np.array([[50.0, 8.0]]), np.array([4.0]), (40, 60))
    view = fit_view(View("a", tmp_path / "a.png", K, sparse), None)
    y, x = (int(k.mean()) for k in np.nonzero(view.depth))
    assert view.depth.shape == (60, 40)
    assert view.image[y, x] == pixels[8, 50]
