"""Any index of MegaDepth and of ScanNet, any index.json of pairs, and any depth map."""

import json
import shutil

import h5py
import numpy as np
import pytest
from damage import spoiled_arrays, spoiled_bytes, spoiled_json, spoiled_text
from evaluation.miniatures import NAMES, STEMS, make_megadepth, make_scannet, make_shifted
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from verdicts import ask, ask_pairs, assert_finite, examples

from astr_jax.data.readers import MegaDepth, ScanNet
from astr_jax.data.readers.depths import read_depth
from astr_jax.evaluation.benchmarks import megadepth1500, scannet1500
from astr_jax.evaluation.benchmarks.pairs import read_pairs

BAND = "0015_0.1_0.3"


def folder_of(tmp_path_factory, name, make):
    folder = tmp_path_factory.mktemp(name)
    make(folder, np.random.default_rng(7))
    return folder


@pytest.fixture(scope="module")
def megadepth(tmp_path_factory):
    folder = folder_of(tmp_path_factory, "megadepth", make_megadepth)
    for name in NAMES:
        path = folder / "MegaDepth_v1" / "0015" / "dense0" / "depths" / f"{name}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["depth"] = np.ones((36, 48), np.float32)
    return folder


@pytest.fixture(scope="module")
def scannet(tmp_path_factory):
    folder = folder_of(tmp_path_factory, "scannet", make_scannet)
    for stem in STEMS:
        path = folder / "scene0707_00" / "depth" / f"{stem}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((48, 64), 2000, np.uint16)).save(path)
    return folder


@pytest.fixture(scope="module")
def shifted(tmp_path_factory):
    return folder_of(tmp_path_factory, "shifted", lambda folder, _: make_shifted(folder))


def arrays_of(path):
    with np.load(path, allow_pickle=True) as file:
        return dict(file)


def write_spoiled(path, source, draw):
    """The arrays of an index, maybe spoiled; now and then one dict, or spoiled bytes."""
    arrays = draw(spoiled_arrays(arrays_of(source)))
    if draw(st.integers(0, 5)) == 0:
        np.savez(path, np.array(arrays, object))
    else:
        np.savez(path, **arrays)
    if draw(st.integers(0, 4)) == 0:
        path.write_bytes(draw(spoiled_bytes(path.read_bytes())))


@examples(15)
@given(data=st.data())
def test_any_index_of_megadepth_is_read_or_refused_by_the_file(tmp_path, megadepth, data):
    path = tmp_path / f"{BAND}.npz"
    write_spoiled(path, megadepth / "index" / path.name, data.draw)
    ask_pairs("MegaDepth", MegaDepth(megadepth, tmp_path), path, megadepth)
    names = path, megadepth, BAND, "megadepth1500"
    ask("MegaDepth-1500", lambda: megadepth1500.read(megadepth, tmp_path), *names)


@examples(15)
@given(data=st.data())
def test_any_index_of_scannet_is_read_or_refused_by_the_file(tmp_path, scannet, data):
    root, path = tmp_path / "root", tmp_path / "test.npz"
    if not root.exists():
        shutil.copytree(scannet, root)
    write_spoiled(path, scannet / "test.npz", data.draw)
    write_spoiled(tmp_path / "intrinsics.npz", scannet / "intrinsics.npz", data.draw)
    pose = "scene0707_00/pose/15.txt"
    (root / pose).write_text(data.draw(spoiled_text((scannet / pose).read_text())), "utf-8")
    intrinsics = tmp_path / "intrinsics.npz"
    names = path, intrinsics, root, "scene0707_00"

    def opened():
        return ScanNet(root, path, intrinsics=intrinsics)

    dataset = ask("ScanNet, opened", opened, *names)
    if dataset is not None:
        ask_pairs("ScanNet", dataset, root, path, intrinsics)
    names = *names, "scannet1500"
    ask("ScanNet-1500", lambda: scannet1500.read(root, path, intrinsics), *names)


@examples(18)
@given(data=st.data())
def test_any_index_json_is_read_or_refused_by_the_file(tmp_path, shifted, data):
    name = data.draw(st.sampled_from(("flat", "posed")))
    folder = tmp_path / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(shifted / name, folder)
    path = folder / "index.json"
    content = json.loads(path.read_text())
    for _ in range(data.draw(st.integers(0, 2))):
        content = data.draw(spoiled_json(content))
    path.write_text(json.dumps(content))
    if data.draw(st.integers(0, 3)) == 0:
        path.write_bytes(data.draw(spoiled_bytes(path.read_bytes())))
    if data.draw(st.integers(0, 3)) == 0:
        image = folder / "0_0.png"
        image.write_bytes(data.draw(spoiled_bytes(image.read_bytes())))
    pairs = ask("index.json", lambda: read_pairs([folder]), path)
    for pair in pairs or ():
        assert_finite(list(pair.truth.matrices.values()))


@examples(12)
@given(data=st.data(), shape=st.sampled_from(((6, 8), (6, 8), (0, 3), (2, 3, 1), (4,))))
def test_any_depth_map_is_read_or_refused_by_the_file(tmp_path, data, shape):
    depth = np.linspace(-1, 3, int(np.prod(shape))).reshape(shape)
    suffix = data.draw(st.sampled_from((".h5", ".png", ".bin")))
    path = tmp_path / f"a{suffix}"
    path.unlink(missing_ok=True)
    if suffix == ".h5":
        with h5py.File(path, "w") as file:
            kind = data.draw(st.sampled_from(("f4", "f8", "i2", "S3")))
            key = data.draw(st.sampled_from(("depth", "depth", "x", "depth/x")))
            file[key] = depth.astype(kind)
    elif suffix == ".png":
        kind = data.draw(st.sampled_from((np.uint16, np.uint16, np.uint8)))
        Image.fromarray(np.full((6, 8), 100, kind)).save(path)
    else:
        sides = "&".join(map(str, (*shape[1::-1], 1))) + "&"
        path.write_bytes(sides.encode() + depth.astype("<f4").tobytes())
    path.write_bytes(data.draw(spoiled_bytes(path.read_bytes())))
    found = ask("depth maps", lambda: read_depth(path), path)
    if found is not None:
        assert_finite(found)
        assert found.min() >= 0
