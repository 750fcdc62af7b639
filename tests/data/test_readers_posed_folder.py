import json
import pathlib

import cv2
import numpy as np
import pytest

from astr_jax.data.readers import PosedFolders, UnreadableFile
from astr_jax.data.readers.overlap import overlap_from_depth, overlap_from_tracks

SHAPE = (60, 80)
K = np.array([[60.0, 0, 39.5], [0, 60.0, 29.5], [0, 0, 1]])
SHARED = pathlib.Path(__file__).parents[3] / "shared" / "data" / "rgbd"


def wall_from(x):
    """world_from_cam at x, looking along z at a wall 3 away; 4 wide in the picture."""
    pose = np.eye(4)
    pose[0, 3] = x
    return pose


def make_scene(folder, rng, *, shifts=(0.0, 1.0, 3.0, 9.0), own_K=False):
    """Cameras side by side before a wall: a shift of 1 leaves 3/4 of the picture in common."""
    for name in ("images", "depth"):
        (folder / name).mkdir(parents=True)
    frames, pictures = [], []
    for k, x in enumerate(shifts):
        picture = rng.integers(0, 256, SHAPE, np.uint8)
        cv2.imwrite(str(folder / "images" / f"{k}.png"), picture)
        cv2.imwrite(str(folder / "depth" / f"{k}.png"), np.full(SHAPE, 3000, np.uint16))
        frame = {
            "image": f"images/{k}.png",
            "depth": f"depth/{k}.png",
            "T_cam_to_world": wall_from(x).tolist(),
        }
        frames.append(frame | ({"K": K.tolist()} if own_K else {}))
        pictures.append(picture)
    content = {"frames": frames} | ({} if own_K else {"K": K.tolist(), "depth_unit": "mm"})
    (folder / "scene.json").write_text(json.dumps(content))
    return pictures, content


@pytest.mark.parametrize("own_K", [False, True])
def test_the_layout_is_read_back_exactly(tmp_path, rng, own_K):
    pictures, _ = make_scene(tmp_path / "wall", rng, own_K=own_K)
    dataset = PosedFolders([tmp_path / "wall"])
    pairs = dataset.pairs("wall")
    found = {(p.view0.name, p.view1.name): p.overlap for p in pairs}
    expected = {(0, 1): 0.75, (0, 2): 0.25, (1, 2): 0.5}
    assert found.keys() == {(f"wall/images/{i}.png", f"wall/images/{j}.png") for i, j in expected}
    np.testing.assert_allclose(list(found.values()), list(expected.values()), atol=0.04)
    arrays = dataset.load(pairs[1], SHAPE)
    np.testing.assert_array_equal(arrays.image0, pictures[0])
    np.testing.assert_array_equal(arrays.image1, pictures[2])
    assert (arrays.truth.depth0 == 3).all()
    np.testing.assert_array_equal(arrays.truth.K0, K.astype(np.float32))
    np.testing.assert_allclose(arrays.truth.cam1_from_cam0, wall_from(-3.0), atol=1e-6)


def test_a_frame_without_depth_pairs_with_one_that_has_it(tmp_path, rng):
    _, content = make_scene(tmp_path / "wall", rng, shifts=(0.0, 1.0, 1.5))
    for frame in content["frames"][1:]:
        frame["depth"] = None
    (tmp_path / "wall" / "scene.json").write_text(json.dumps(content))
    dataset = PosedFolders([tmp_path / "wall"])
    pairs = dataset.pairs("wall")
    assert [p.view0.name for p in pairs] == ["wall/images/0.png"] * 2
    assert not dataset.load(pairs[0], SHAPE).truth.depth1.any()


def test_what_is_hidden_behind_a_near_surface_is_not_shared():
    near, far = np.full(SHAPE, 1.0), np.full(SHAPE, 3.0)
    same = [np.eye(4)] * 2
    overlap = overlap_from_depth([far, far], [K, K], [SHAPE, SHAPE], same)
    np.testing.assert_array_equal(overlap[0, 1], 1.0)
    overlap = overlap_from_depth([far, near], [K, K], [SHAPE, SHAPE], same)
    np.testing.assert_array_equal(overlap[0, 1], 0.0)
    nothing = np.zeros(SHAPE)
    assert np.isnan(overlap_from_depth([nothing, None], [K, K], [SHAPE, SHAPE], same)[0, 1])


def test_the_overlap_of_a_wide_and_a_narrow_view_is_the_lesser_share():
    far, narrow = np.full(SHAPE, 3.0), K * [[2], [2], [1]]
    narrow[:2, 2] = K[:2, 2]
    overlap = overlap_from_depth([far, far], [K, narrow], [SHAPE, SHAPE], [np.eye(4)] * 2)
    np.testing.assert_allclose(overlap[0, 1], 0.25, atol=0.03)
    np.testing.assert_array_equal(overlap, overlap.T)


def test_the_overlap_by_tracks_is_that_of_the_sets(rng):
    points = [np.sort(rng.choice(50, size, replace=False)) for size in (0, 1, 20, 30, 50)]
    overlap = overlap_from_tracks(points)
    sets = [set(p.tolist()) for p in points]
    expected = [[len(a & b) / max(1, min(len(a), len(b))) for b in sets] for a in sets]
    np.testing.assert_allclose(overlap, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": None}, "no description of a scene"),
        ({"depth_unit": "inch"}, "depth_unit must be mm; got 'inch'"),
        ({"frames": [{"image": "a.png"}]}, "there is no 'T_cam_to_world'"),
        (
            {"frames": [{"image": "a.png", "T_cam_to_world": [[1]]}]},
            "a.png must be .4 4. or",
        ),
    ],
)
def test_a_scene_that_is_not_as_described_is_told(tmp_path, rng, change, message):
    _, content = make_scene(tmp_path / "wall", rng)
    (tmp_path / "wall" / "scene.json").write_text(json.dumps(content | change))
    with pytest.raises(UnreadableFile, match=message):
        PosedFolders([tmp_path / "wall"]).pairs("wall")


def test_missing_files_are_named(tmp_path, rng):
    make_scene(tmp_path / "wall", rng)
    (tmp_path / "wall" / "depth" / "1.png").unlink()
    with pytest.raises(UnreadableFile, match=r"depth/1\.png"):
        PosedFolders([tmp_path / "wall"]).pairs("wall")
    (tmp_path / "wall" / "images" / "0.png").unlink()
    (tmp_path / "wall" / "scene.json").unlink()
    with pytest.raises(UnreadableFile, match=r"scene\.json: there is no such file"):
        PosedFolders([tmp_path / "wall"]).pairs("wall")
    with pytest.raises(ValueError, match="folders' names"):
        PosedFolders([tmp_path / "a" / "wall", tmp_path / "b" / "wall"])


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared rgbd scenes")
def test_real_pairs_show_the_same_thing_where_depth_and_pose_say():
    dataset = PosedFolders([SHARED / "boofchair_sgm"])
    pairs = dataset.pairs("boofchair_sgm")
    arrays = dataset.load(pairs[len(pairs) // 2], (240, 320))
    y, x = np.nonzero(arrays.truth.depth0)
    points = (
        np.linalg.inv(arrays.truth.K0)
        @ np.stack([x, y, np.ones(len(x))])
        * arrays.truth.depth0[y, x]
    )
    moved = arrays.truth.cam1_from_cam0[:3, :3] @ points + arrays.truth.cam1_from_cam0[:3, 3:]
    u, v = np.round((arrays.truth.K1 @ moved)[:2] / moved[2]).astype(int)
    inside = (u >= 0) & (u < 320) & (v >= 0) & (v < 240)
    u, v, x, y, z = u[inside], v[inside], x[inside], y[inside], moved[2, inside]
    same = np.abs(z - arrays.truth.depth1[v, u]) < 0.05 * arrays.truth.depth1[v, u]
    assert same.mean() > 0.5
    grey0, grey1 = arrays.image0[y, x][same], arrays.image1[v, u][same]
    assert np.corrcoef(grey0, grey1)[0, 1] > 0.9
