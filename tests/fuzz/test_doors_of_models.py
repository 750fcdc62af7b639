"""Any COLMAP model, text and binary, and any folder with poses."""

import json
import shutil

import numpy as np
import pytest
from damage import spoiled_bytes, spoiled_json, spoiled_text
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from verdicts import ask, ask_pairs, examples

from astr_jax.data.readers import ColmapModels, PosedFolders
from astr_jax.evaluation.benchmarks import colmap

K = [[60.0, 0, 39.5], [0, 60.0, 29.5], [0, 0, 1]]


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """A workspace with pictures and one model in two folders, binary and text."""
    pycolmap = pytest.importorskip("pycolmap", reason="writes the model")
    folder = tmp_path_factory.mktemp("town")
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_cameras_per_rig, options.num_frames_per_rig = 1, 1, 4
    options.num_points3D, options.num_points2D_without_point3D = 12, 1
    options.camera_width, options.camera_height = 64, 48
    options.camera_model_id = pycolmap.CameraModelId.PINHOLE
    options.camera_params = [60.0, 62.0, 32.0, 24.0]
    pycolmap.set_random_seed(3)
    model = pycolmap.synthesize_dataset(options)
    for kind in ("binary", "text"):
        (folder / kind).mkdir()
    model.write_binary(folder / "binary")
    model.write_text(folder / "text")
    for image in model.images.values():
        path = folder / "images" / image.name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (64, 48), 100).save(path, "PNG")
    return folder


@examples(20)
@given(data=st.data())
def test_any_colmap_model_is_read_or_refused_by_the_file(tmp_path, town, data):
    folder = tmp_path / "town"
    if not folder.exists():
        shutil.copytree(town / "images", folder / "images")
    shutil.rmtree(folder / "sparse", ignore_errors=True)
    kind = data.draw(st.sampled_from(("binary", "text")))
    shutil.copytree(town / kind, folder / "sparse")
    for path in sorted((folder / "sparse").glob("[cip]*")):
        if data.draw(st.integers(0, 2)) == 0:
            if path.suffix == ".txt" and data.draw(st.integers(0, 3)):
                text = data.draw(spoiled_text(path.read_text()))
                path.write_text(text, encoding="utf-8")
            else:
                path.write_bytes(data.draw(spoiled_bytes(path.read_bytes())))
    dataset = ColmapModels([folder], min_overlap=0, max_overlap=1)
    ask_pairs("COLMAP models", dataset, folder)
    ask("COLMAP benchmark", lambda: colmap.read([folder], bands=[(0.0, 1.01)]), folder)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory):
    """A folder of pictures with poses: side by side before a wall 3 away."""
    folder = tmp_path_factory.mktemp("kitchen")
    frames = []
    for k in range(3):
        for name, kind, level in (("images", np.uint8, 90), ("depth", np.uint16, 3000)):
            (folder / name).mkdir(exist_ok=True)
            Image.fromarray(np.full((60, 80), level, kind)).save(folder / name / f"{k}.png")
        pose = np.eye(4)
        pose[0, 3] = k
        frame = {"image": f"images/{k}.png", "depth": f"depth/{k}.png"}
        frames.append(frame | {"T_cam_to_world": pose.tolist()})
    content = {"K": K, "depth_unit": "mm", "frames": frames}
    (folder / "scene.json").write_text(json.dumps(content))
    return folder


@examples(15)
@given(data=st.data())
def test_any_folder_with_poses_is_read_or_refused_by_the_file(tmp_path, kitchen, data):
    folder = tmp_path / "kitchen"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(kitchen, folder)
    path = folder / "scene.json"
    content = json.loads(path.read_text())
    for _ in range(data.draw(st.integers(0, 2))):
        content = data.draw(spoiled_json(content))
    path.write_text(json.dumps(content))
    if data.draw(st.integers(0, 3)) == 0:
        path.write_bytes(data.draw(spoiled_bytes(path.read_bytes())))
    for file in ("depth/1.png", "images/0.png"):
        if data.draw(st.integers(0, 3)) == 0:
            (folder / file).write_bytes(data.draw(spoiled_bytes((folder / file).read_bytes())))
    ask_pairs("folders with poses", PosedFolders([folder]), folder)
