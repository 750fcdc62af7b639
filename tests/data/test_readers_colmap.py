import numpy as np
import PIL.Image
import pytest

from astr_jax.data.readers import ColmapModels, UnreadableFile
from astr_jax.data.readers.colmap_model import read_images, read_points
from astr_jax.data.readers.depths import REACH

pycolmap = pytest.importorskip("pycolmap", reason="writes the miniatures")
SIZE = (48, 64)


def synthetic(camera="PINHOLE", params=(60.0, 62.0, 32.0, 24.0)):
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_cameras_per_rig, options.num_frames_per_rig = 1, 1, 5
    options.num_points3D, options.num_points2D_without_point3D = 40, 3
    options.camera_width, options.camera_height = SIZE[::-1]
    options.camera_model_id = getattr(pycolmap.CameraModelId, camera)
    options.camera_params = list(params)
    pycolmap.set_random_seed(3)
    return pycolmap.synthesize_dataset(options)


@pytest.fixture
def model(tmp_path, rng):
    """A workspace folder `town`; returns its model."""
    model = synthetic()
    write(model, tmp_path / "town" / "sparse")
    for image in model.images.values():
        path = tmp_path / "town" / "images" / image.name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(rng.integers(0, 256, SIZE, np.uint8)).save(path.with_suffix(".png"))
        path.with_suffix(".png").rename(path)
    return model


def write(model, folder):
    folder.mkdir(parents=True)
    model.write(folder)


def by_name(model, view):
    return model.find_image_with_name(view.name.removeprefix("town/"))


def test_pictures_cameras_and_poses_are_read_exactly(tmp_path, model):
    dataset = ColmapModels([tmp_path / "town"], min_overlap=0, max_overlap=1)
    assert dataset.scenes == ("town",)
    pairs = dataset.pairs("town")
    assert len(pairs) == 10
    for pair in pairs:
        arrays = dataset.load(pair, SIZE)
        image0, image1 = by_name(model, pair.view0), by_name(model, pair.view1)
        with PIL.Image.open(tmp_path / "town" / "images" / image0.name) as picture:
            np.testing.assert_array_equal(arrays.image0, np.asarray(picture))
        points = np.array([p.xyz for p in model.points3D.values()])
        in0, in1 = (
            points @ i.cam_from_world().rotation.matrix().T + i.cam_from_world().translation
            for i in (image0, image1)
        )
        moved = in0 @ arrays.truth.cam1_from_cam0[:3, :3].T + arrays.truth.cam1_from_cam0[:3, 3]
        np.testing.assert_allclose(moved, in1, atol=1e-4)


def test_our_pixels_are_half_a_pixel_less_than_those_of_colmap(tmp_path, model):
    pair = ColmapModels([tmp_path / "town"], min_overlap=0, max_overlap=1).pairs("town")[0]
    image = by_name(model, pair.view0)
    pose = image.cam_from_world()
    for point2D in image.get_observation_points2D():
        xyz = model.points3D[point2D.point3D_id].xyz
        x, y, z = pair.view0.K @ (pose.rotation.matrix() @ xyz + pose.translation)
        np.testing.assert_allclose([x / z, y / z], point2D.xy - 0.5, atol=1e-6)


def test_the_depth_of_sparse_points_stands_around_their_keypoints(tmp_path, model):
    dataset = ColmapModels([tmp_path / "town"], min_overlap=0, max_overlap=1)
    pair = dataset.pairs("town")[0]
    arrays = dataset.load(pair, SIZE)
    image = by_name(model, pair.view0)
    pose = image.cam_from_world().matrix()
    xy = np.array([p.xy - 0.5 for p in image.get_observation_points2D()])
    xyz = np.array([model.points3D[p.point3D_id].xyz for p in image.get_observation_points2D()])
    z = xyz @ pose[2, :3] + pose[2, 3]
    exact = 0
    for (x, y), depth in zip(np.round(xy).astype(int), z, strict=True):
        if 0 <= x < SIZE[1] and 0 <= y < SIZE[0]:
            assert 0 < arrays.truth.depth0[y, x] <= depth * (1 + 1e-6)  # a nearer one may share it
            exact += np.isclose(arrays.truth.depth0[y, x], depth)
    assert exact > 5
    v, u = np.nonzero(arrays.truth.depth0)
    distance = np.hypot(u[:, None] - np.round(xy[:, 0]), v[:, None] - np.round(xy[:, 1]))
    assert (distance.min(axis=1) <= REACH + 1e-3).all()


def test_pairs_are_those_with_enough_common_points(tmp_path, model, rng):
    # Forget some points in some images, so that the shares differ.
    for point in sorted(model.points3D):
        elements = [(e.image_id, e.point2D_idx) for e in model.points3D[point].track.elements]
        for image, row in rng.permutation(elements)[: len(elements) - 2]:
            model.delete_observation(int(image), int(row))
    write(model, tmp_path / "thinned" / "sparse" / "0")
    sees = {
        name: {p.point3D_id for p in image.get_observation_points2D()}
        for name, image in ((i.name, i) for i in model.images.values())
    }
    dataset = ColmapModels([tmp_path / "thinned"], min_overlap=0.3, max_overlap=0.9)
    found = {
        (p.view0.name.removeprefix("thinned/"), p.view1.name.removeprefix("thinned/")): p.overlap
        for p in dataset.pairs("thinned")
    }
    names = [image.name for _, image in sorted(model.images.items())]
    expected = {
        (a, b): len(sees[a] & sees[b]) / min(len(sees[a]), len(sees[b]))
        for k, a in enumerate(names)
        for b in names[k + 1 :]
    }
    assert found == {pair: share for pair, share in expected.items() if 0.3 <= share <= 0.9}
    assert 0 < len(found) < len(expected)


def test_dense_maps_are_taken_where_the_workspace_has_them(tmp_path, model, rng):
    maps = {}
    for image in model.images.values():
        maps[image.name] = rng.uniform(1, 5, (24, 32)).astype(np.float32)
        path = tmp_path / "town" / "stereo" / "depth_maps" / f"{image.name}.geometric.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        pycolmap.DepthMap.from_array(maps[image.name], 0.1, 9.0).write(path)
    dataset = ColmapModels([tmp_path / "town"], min_overlap=0, max_overlap=1)
    pair = dataset.pairs("town")[3]
    arrays = dataset.load(pair, (24, 32))
    np.testing.assert_array_equal(arrays.truth.depth0, maps[by_name(model, pair.view0).name])
    np.testing.assert_array_equal(arrays.truth.depth1, maps[by_name(model, pair.view1).name])
    path.with_name(f"{by_name(model, pair.view1).name}.geometric.bin").unlink()
    with pytest.raises(UnreadableFile, match=r"geometric\.bin: there is no such depth file"):
        dataset.load(pair, (24, 32))


@pytest.mark.parametrize("suffix", [".bin", ".txt"])
def test_a_distorted_camera_is_refused_with_the_way_out(tmp_path, suffix):
    model = synthetic("SIMPLE_RADIAL", (60.0, 32.0, 24.0, 0.1))
    (tmp_path / "raw").mkdir()
    (model.write if suffix == ".bin" else model.write_text)(tmp_path / "raw")
    with pytest.raises(UnreadableFile, match=r"distortion.*image_undistorter"):
        ColmapModels([tmp_path / "raw"]).pairs("raw")


@pytest.mark.parametrize("camera", ["PINHOLE", "SIMPLE_PINHOLE"])
def test_text_and_binary_models_are_the_same(tmp_path, camera):
    params = (60.0, 62.0, 32.0, 24.0) if camera == "PINHOLE" else (60.0, 32.0, 24.0)
    model = synthetic(camera, params)
    for suffix in ("bin", "txt"):
        (tmp_path / suffix).mkdir()
    model.write_binary(tmp_path / "bin")
    model.write_text(tmp_path / "txt")
    binary, text = read_images(tmp_path / "bin"), read_images(tmp_path / "txt")
    assert len(binary) == len(text) == 5
    for a, b in zip(binary, text, strict=True):
        assert (a.name, a.size) == (b.name, b.size)
        np.testing.assert_array_equal(a.points, b.points)
        for field in ("K", "cam_from_world", "keypoints"):
            np.testing.assert_allclose(getattr(a, field), getattr(b, field), atol=1e-9)
    points = read_points(tmp_path / "txt")
    assert points.keys() == set(model.points3D)
    for number, xyz in read_points(tmp_path / "bin").items():
        np.testing.assert_allclose(points[number], xyz)


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(UnreadableFile, match=r"expected cameras\.bin"):
        ColmapModels([tmp_path / "nowhere"]).pairs("nowhere")


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
@pytest.mark.parametrize("share", [None, 0, 0.1, 0.5, 0.95])
def test_a_missing_and_a_damaged_file_of_a_model_is_named(tmp_path, model, name, share):
    path = tmp_path / "town" / "sparse" / name
    if share is None:
        (tmp_path / "town" / "sparse" / "cameras.txt").touch()  # so that the folder is a model's
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UnreadableFile, match="sparse"):
        ColmapModels([tmp_path / "town"]).pairs("town")


def test_text_is_read_as_pycolmap_reads_it(tmp_path, model):
    """Blank lines, comments behind blanks, and lines of no points."""
    folder = tmp_path / "town" / "sparse"
    for path in folder.glob("*.bin"):
        path.unlink()
    model.write_text(folder)
    expected = read_images(folder), read_points(folder)
    for name in ("cameras", "images", "points3D"):
        path = folder / f"{name}.txt"
        lines = path.read_text().splitlines()
        end = [] if name == "images" else ["", "  # the end", "\t"]
        body = [f"  {line} " for line in lines if not line.startswith("#")]
        path.write_text("\n".join(["", "   # a comment", *lines[:2], "", *body, *end]) + "\n")
    theirs = pycolmap.Reconstruction(folder)
    assert sorted(i.name for i in theirs.images.values()) == sorted(i.name for i in expected[0])
    found = read_images(folder), read_points(folder)
    assert found[1] == expected[1]
    for one, other in zip(found[0], expected[0], strict=True):
        assert (one.name, one.size) == (other.name, other.size)
        for field in ("K", "cam_from_world", "keypoints", "points"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def test_a_picture_without_points_and_one_cut_short(tmp_path, model):
    folder = tmp_path / "town" / "sparse"
    for path in folder.glob("*.bin"):
        path.unlink()
    model.write_text(folder)
    path = folder / "images.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], ""]) + "\n")  # the last sees nothing
    last = lines[-2].split()[-1]
    seen = {image.name: len(image.points) for image in read_images(folder)}
    assert seen[last] == 0
    assert len(seen) == 5
    path.write_text("\n".join(lines[:-1]))
    with pytest.raises(UnreadableFile, match=f"it ends behind the first line of {last}"):
        read_images(folder)


def test_a_pose_of_a_model_that_is_none_is_named(tmp_path, model):
    folder = tmp_path / "town" / "sparse"
    for path in folder.glob("*.bin"):
        path.unlink()
    model.write_text(folder)
    path = folder / "images.txt"
    lines = path.read_text().splitlines()
    words = lines[-2].split()
    for change in (["0"] * 4, ["nan", *words[2:5]]):
        row = " ".join([words[0], *change, *words[5:]])
        path.write_text("\n".join([*lines[:-2], row, lines[-1]]) + "\n")
        with pytest.raises(UnreadableFile, match=f"pose of picture {words[-1]} must be finite"):
            read_images(folder)
