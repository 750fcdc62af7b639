"""What these tests have found at the doors, each fault once, by the words that it has now."""

import json
import struct
import zlib

import h5py
import numpy as np
import pytest
from evaluation.miniatures import make_town
from PIL import Image

from astr_jax.config import (
    AggregationConfig,
    FineConfig,
    MatchingConfig,
    ModelConfig,
    from_json,
    override,
    to_json,
)
from astr_jax.configurations import read
from astr_jax.data.readers import ColmapModels, MegaDepth, ScanNet, UnreadableFile
from astr_jax.data.readers.calibration import checked_intrinsics
from astr_jax.data.readers.depths import read_depth
from astr_jax.evaluation.benchmarks import colmap
from astr_jax.evaluation.benchmarks.pairs import read_pairs
from astr_jax.images import prepare
from astr_jax.matching import MatchOptions
from astr_jax.matching.working import working_intrinsics, working_points


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_matches": 2.5}, "max_matches must be at least 1, a whole number.*got 2.5"),
        ({"max_matches": "5"}, "max_matches must be at least 1, a whole number.*got '5'"),
        ({"threshold": "0.2"}, r"threshold must lie in \[0, 1\); got '0.2'"),
        ({"resize": True}, "resize must be a whole number of pixels"),
        ({"resize": 10**6}, "resize must be at most 32768 pixels"),
        ({"upright": np.zeros(3)}, "upright must be"),
        ({"alpha": np.zeros(3)}, "alpha must be one of"),
        ({"estimator": np.zeros(3)}, "estimator must be one of"),
        ({"polish": "no"}, "polish must be True, \"all\" or False; got 'no'"),
        ({"scales": 10**400}, 'scales must be "auto", or numbers'),
    ],
)
def test_options_of_another_type_are_refused_by_their_names(options, words):
    with pytest.raises(ValueError, match=words):
        MatchOptions(**options)


def test_numbers_of_numpy_are_options():
    chosen = MatchOptions(resize=np.int64(64), threshold=np.float32(0.5), max_matches=np.int32(3))
    assert (chosen.resize, chosen.threshold, chosen.max_matches) == (64, 0.5, 3)


@pytest.mark.parametrize("given", ["K", {}, [[1, 2], [3]], [[1e300, 0, 0], [0, 1, 0], [0, 0, 1]]])
def test_cameras_and_points_that_are_no_numbers_are_named(given):
    image = prepare(np.zeros((48, 64), np.uint8), None, resize=64, name="img0")
    with pytest.raises(ValueError, match="K0 must be"):
        working_intrinsics(given, image, "K0")
    with pytest.raises(ValueError, match="keypoints0 must be"):
        working_points(given if isinstance(given, str | dict) else [[1e300, 0]], image)


@pytest.mark.parametrize(("image", "mask"), [([[1, 2], [3]], None), (None, [[1, 2], [3]])])
def test_an_image_or_a_mask_of_ragged_rows_is_named(image, mask):
    image = np.zeros((2, 2), np.uint8) if image is None else image
    with pytest.raises(ValueError, match=r"img0 must be .*it is no array"):
        prepare(image, mask, resize=64, name="img0")


def test_a_path_too_long_for_a_file_system_is_named():
    with pytest.raises(ValueError, match=r"img0: éé.* is no path"):
        prepare("é" * 300, None, resize=64, name="img0")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: AggregationConfig(head_dim=0), "head_dim must be positive; got 0"),
        (lambda: AggregationConfig(window=-1), "window must be odd.* and positive; got -1"),
        (lambda: FineConfig(head_dim=-8), "head_dim must be positive; got -8"),
        (lambda: FineConfig(zooms=(float("inf"),)), "zooms needs a positive number"),
        (lambda: FineConfig(max_ratio=float("inf")), "max_ratio must be at least 1, and finite"),
        (lambda: MatchingConfig(temperature=float("inf")), "temperature must be positive, and fin"),
        (lambda: ModelConfig(train_side=0), "train_side must be positive"),
        (lambda: override(read("tiny").experiment(), "stages", ""), "stages must hold one stage"),
    ],
)
def test_a_configuration_that_no_model_has_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        ("backbone", "widths", "wide"),
        ("backbone", "widths", [16, 32, 64.5, 64, 64]),
        ("backbone", "folded", 1),
        ("matching", "border", True),
        ("matching", "temperature", "hot"),
        ("fine", "zooms", None),
    ],
)
def test_a_configuration_of_a_file_has_the_types_of_its_fields(group, name, value):
    values = json.loads(to_json(ModelConfig()))
    values[group][name] = value
    with pytest.raises(ValueError, match=f"{name} of .*Config must be"):
        from_json(ModelConfig, json.dumps(values))
    with pytest.raises(ValueError, match="ModelConfig is read from an object of JSON"):
        from_json(ModelConfig, "[]")


def test_a_depth_map_whose_header_asks_for_gigabytes_is_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), np.uint16)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    header = b"IHDR" + struct.pack(">II", 30_000, 30_000) + content[24:29]
    content = content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]
    (tmp_path / "a.png").write_bytes(content)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("depth", (20_000, 20_000), "f4", chunks=(100, 100))
    for name in ("a.png", "a.h5"):
        with pytest.raises(UnreadableFile, match=name):
            read_depth(tmp_path / name)


def test_a_camera_of_too_few_parameters_is_named(tmp_path):
    (tmp_path / "images.txt").write_text("1 1 0 0 0 0 0 0 1 a.jpg\n\n")
    (tmp_path / "points3D.txt").write_text("")
    for row, words in (
        ("1 PINHOLE 64 48 60 60 32", "camera 1 .PINHOLE. has 3 parameters"),
        ("1 PINHOLE 0 48 60 60 32 24", "camera 1 has 0 x 48 pixels"),
    ):
        (tmp_path / "cameras.txt").write_text(row)
        with pytest.raises(UnreadableFile, match=words):
            ColmapModels([tmp_path]).pairs(tmp_path.name)
    (tmp_path / "cameras.txt").write_text("")
    (tmp_path / "images.txt").write_text("")
    with pytest.raises(UnreadableFile, match="no registered picture"):
        ColmapModels([tmp_path]).pairs(tmp_path.name)


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive"])
def test_a_damaged_file_of_intrinsics_is_named(tmp_path, content):
    np.savez(tmp_path / "test.npz", name=np.array([[707, 0, 15, 585]]))
    (tmp_path / "intrinsics.npz").write_bytes(content)
    with pytest.raises(UnreadableFile, match=r"intrinsics\.npz: no file of intrinsics"):
        ScanNet(tmp_path, tmp_path / "test.npz", intrinsics=tmp_path / "intrinsics.npz")


def test_intrinsics_of_four_rows_lose_the_last_one(tmp_path):
    """They were read as its first nine numbers."""
    K = np.array([[60.0, 0, 31.5, 0], [0, 61.0, 23.5, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    rel_pose = np.eye(4)[None, :3].reshape(1, 12)
    np.savez(tmp_path / "test.npz", name=np.array([[707, 0, 15, 585]]), rel_pose=rel_pose)
    np.savez(tmp_path / "intrinsics.npz", scene0707_00=K)
    dataset = ScanNet(tmp_path, tmp_path / "test.npz", intrinsics=tmp_path / "intrinsics.npz")
    np.testing.assert_array_equal(dataset.pairs("test")[0].view0.K, K[:3, :3])


def test_rows_that_an_index_of_scannet_lacks_are_named(tmp_path):
    """Pairs without one ended the scene without a word."""
    np.savez(
        tmp_path / "test.npz", name=np.array([[707, 0, 15, 585]] * 2), rel_pose=np.ones((1, 12))
    )
    with pytest.raises(UnreadableFile, match="`rel_pose` must have a row for each of `name`"):
        ScanNet(tmp_path, tmp_path / "test.npz").pairs("test")


def test_a_camera_of_megadepth_that_is_none_is_named(tmp_path):
    infos = np.empty((1, 3), object)
    infos[0, :] = (0, 1), 0.25, None
    intrinsics = np.empty(2, object)
    intrinsics[:] = [np.eye(3), {}]
    poses = np.stack([np.eye(4)] * 2)
    names = np.array(["a.jpg", "b.jpg"], object)
    rows = {"image_paths": names, "depth_paths": names, "poses": poses, "pair_infos": infos}
    np.savez(tmp_path / "0015.npz", intrinsics=intrinsics, **rows)
    with pytest.raises(UnreadableFile, match=r"0015\.npz, picture 1: its K must be"):
        MegaDepth(tmp_path, tmp_path).pairs("0015")[0]


def test_a_path_of_an_index_too_long_for_a_file_system_is_named(tmp_path):
    entry = {"image0": "é" * 300, "image1": "b.png"}
    (tmp_path / "index.json").write_text(json.dumps([entry]))
    with pytest.raises(ValueError, match=r"index\.json, pair 0: image0: .* is no path"):
        read_pairs([tmp_path])


def test_a_picture_of_megadepth_without_a_name_is_named(tmp_path):
    infos = np.empty((1, 3), object)
    infos[0, :] = (0, 1), 0.25, None
    depths = np.array(["0015/dense0/depths/a.h5"] * 2, object)
    rows = {"image_paths": np.array(["", "b.jpg"], object), "depth_paths": depths}
    rows |= {"poses": np.stack([np.eye(4)] * 2), "intrinsics": np.stack([np.eye(3)] * 2)}
    np.savez(tmp_path / "0015.npz", pair_infos=infos, **rows)
    with pytest.raises(UnreadableFile, match=r"0015\.npz: picture 0 has no name"):
        MegaDepth(tmp_path, tmp_path).pairs("0015")[0]


@pytest.mark.parametrize("row", [[0, 0, 0], [0, 0, 2], [1, 0, 1]])
def test_a_camera_without_its_last_row_is_named(row):
    with pytest.raises(UnreadableFile, match=r"a\.json: its K must be .* a last row of 0 0 1"):
        checked_intrinsics([[60.0, 0, 39.5], [0, 60.0, 29.5], row], "a.json")


def test_a_number_of_a_homography_too_large_for_any_is_named(tmp_path):
    for name in "ab":
        Image.new("L", (64, 48)).save(tmp_path / f"{name}.png")
    entry = {"image0": "a.png", "image1": "b.png"}
    entry["H_0to1"] = [[10**400, 0, 0], [0, 1, 0], [0, 0, 1]]
    (tmp_path / "index.json").write_text(json.dumps([entry]))
    with pytest.raises(ValueError, match=r"index\.json, pair 0: H_0to1 must be 3 rows of 3"):
        read_pairs([tmp_path])


def test_a_pose_of_a_model_too_far_away_is_named_with_its_folder(tmp_path):
    make_town(tmp_path, np.random.default_rng(7))
    images = tmp_path / "town" / "sparse" / "images.bin"
    content = bytearray(images.read_bytes())
    content[8 + 4 + 32 : 8 + 4 + 40] = struct.pack("<d", 1e29)  # tx of the first picture
    images.write_bytes(bytes(content))
    with pytest.raises(UnreadableFile, match=r"sparse: sub/0\.jpg .*T_0to1 must be"):
        colmap.read([tmp_path / "town"], bands=[(0.0, 1.01)])
