"""What hloc reads from the files of a localisation, and that a run goes on where it was cut."""

import subprocess
import sys

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.spatial import KDTree

from astr_jax.evaluation.benchmarks.resizing import Resize
from astr_jax.evaluation.localisation.export import (
    PROTOCOLS,
    next_command,
    read_pair_list,
    write_matches,
)
from astr_jax.evaluation.localisation.hloc_files import DenseMatches
from astr_jax.evaluation.localisation.shared_keypoints import (
    Quantisation,
    choose_keypoints,
    nearest_keypoints,
    one_to_one,
)
from astr_jax.evaluation.scores.found import FoundMatches

SIZE = (160, 120)  # (w, h) of the files; matched at half of it
RESIZE = Resize(long_side=80)
RULE = Quantisation(cell=8, max_error=2)
DATABASE = ("db/a.png", "db/b.png", "db/c.png")
QUERIES = ("query/day/q.png", "query/night/r.png")
SFM_PAIRS = [("db/a.png", "db/b.png"), ("db/a.png", "db/c.png"), ("db/b.png", "db/c.png")]
LOC_PAIRS = [(query, image) for query in QUERIES for image in DATABASE[:2]]


class World:
    """Five pictures of one plane: a point of the first is moved by 3, 6, ... pixels in the next."""

    def __init__(self, folder):
        self.folder = folder
        for k, name in enumerate(DATABASE + QUERIES):
            (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", SIZE, 10 * k + 10).save(folder / "images" / name)
        for name, pairs in (("sfm", SFM_PAIRS), ("loc", LOC_PAIRS)):
            (folder / f"{name}.txt").write_text("\n".join(map(" ".join, pairs)) + "\n")
        x, y = np.meshgrid(np.arange(20, 130, 10), np.arange(15, 110, 10))
        self.points = np.stack([x.ravel(), y.ravel()], axis=-1) + 0.25
        self.calls = 0

    def places(self, number):
        """The true places in a picture, in pixels of its file."""
        return self.points + np.array([3.0 * number, 1.5])

    def match(self, img0, img1, K0=None, K1=None):
        self.calls += 1
        assert img0.shape == (60, 80)
        assert K0 is None
        points = [
            (self.places(int(image[0, 0]) // 10 - 1) + 0.5) / 2 - 0.5 for image in (img0, img1)
        ]
        return *points, np.linspace(0.9, 0.5, len(self.points))

    def write(self, name="sfm", matcher=None, out="out", **options):
        options = {"quantisation": RULE, **options}
        return write_matches(
            matcher or self.match,
            self.folder / f"{name}.txt",
            self.folder / "images",
            self.folder / out,
            RESIZE,
            **options,
        )


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def hloc_matches(written, name0, name1):
    """The matched keypoints of a pair, looked up as hloc's localisation does."""
    with h5py.File(written.features, "r") as features, h5py.File(written.matches, "r") as matches:
        keypoints0, keypoints1 = (features[name]["keypoints"][()] for name in (name0, name1))
        group = matches["/".join(name.replace("/", "-") for name in (name0, name1))]
        partner, score = group["matches0"][()], group["matching_scores0"][()]
    assert (partner.dtype, score.dtype) == (np.int32, np.float16)
    assert partner.shape == score.shape == keypoints0.shape[:1]
    found = partner > -1
    assert (score[found] > 0).all()
    assert (score[~found] == 0).all()
    return keypoints0[found], keypoints1[partner[found]]


def content(path):
    """Every array of an h5 file."""
    arrays = {}
    with h5py.File(path, "r") as file:
        file.visititems(
            lambda name, item: (
                arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return arrays


def assert_same_files(one, two):
    for kind in ("features", "matches"):
        a, b = content(getattr(one, kind)), content(getattr(two, kind))
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_hloc_finds_the_true_places_of_every_pair(world):
    written = world.write()
    assert (written.num_pairs, written.num_new, written.failures) == (3, 3, {})
    for pair in SFM_PAIRS:
        numbers = [DATABASE.index(name) for name in pair]
        points = hloc_matches(written, *pair)
        assert len(points[0]) == len(world.points)
        for found, number in zip(points, numbers, strict=True):
            distance, _ = KDTree(world.places(number)).query(found)
            assert distance.max() < 1e-4
        np.testing.assert_allclose(
            points[1] - points[0], [[3 * (numbers[1] - numbers[0]), 0]] * 110
        )


def test_a_point_has_one_number_in_all_pairs_of_its_picture(world):
    written = world.write()
    with h5py.File(written.features, "r") as file:
        assert {name: len(file[name]["keypoints"]) for name in DATABASE} == dict.fromkeys(
            DATABASE, 110
        )
        assert file["db/a.png"]["score"].shape == (110,)
    with h5py.File(written.matches, "r") as file:
        a_to_b, a_to_c, b_to_c = (
            file[f"db-{one}.png/db-{two}.png/matches0"][()] for one, two in ("ab", "ac", "bc")
        )
    np.testing.assert_array_equal(b_to_c[a_to_b], a_to_c)  # tracks close


def test_a_query_keeps_all_its_points_and_the_database_its_keypoints(world):
    before = content(world.write().features)

    def crowded(img0, img1, K0=None, K1=None):
        """Twice as many points in the query, 0.6 pixels apart: far less than a cell."""
        points0, points1, confidence = world.match(img0, img1)
        query = 1 if img1[0, 0] > 30 else 0
        moved = [points0.copy(), points1.copy()]
        moved[query] += 0.3
        return (
            *(np.concatenate([p, m]) for p, m in zip((points0, points1), moved, strict=True)),
            np.concatenate([confidence, confidence - 0.1]),
        )

    written = world.write("loc", crowded)
    after = content(written.features)
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)
    for query in QUERIES:
        assert len(after[f"{query}/keypoints"]) == 220
        points = hloc_matches(written, query, "db/b.png")
        assert len(points[0]) == 110  # a keypoint of the database has one partner, the best
        expected = world.places(3 + QUERIES.index(query))
        assert KDTree(expected).query(points[0])[0].max() < 1e-4


def test_the_second_picture_comes_first_so_that_the_query_is_refined(world):
    seen = []

    def match(img0, img1, K0=None, K1=None):
        seen.append((int(img0[0, 0]), int(img1[0, 0])))
        return world.match(img0, img1)

    world.write("loc", match)
    assert seen == [(10, 40), (20, 40), (10, 50), (20, 50)]


def test_points_on_the_edge_of_a_picture_and_beyond_are_left_out(world):
    # hloc looks up InLoc's scans strictly inside
    edges = np.array([[-0.25, 5], [5, -0.25], [79.25, 5], [5, 59.25], [-3, 5], [20, 20]])

    def match(img0, img1, K0=None, K1=None):
        return edges, np.full((6, 2), 30.0) + np.arange(6)[:, None] * 4, np.ones(6)

    points0, points1 = hloc_matches(world.write(matcher=match), *SFM_PAIRS[0])
    np.testing.assert_allclose(points1, [[40.5, 40.5]])  # the matcher's image 0
    np.testing.assert_allclose(points0, [[100.5, 100.5]])


def test_no_matches_at_all_are_empty_arrays_that_hloc_can_read(world):
    none = np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0)
    written = world.write(matcher=lambda a, b, K0=None, K1=None: none)
    assert [len(points) for points in hloc_matches(written, *SFM_PAIRS[0])] == [0, 0]


def test_a_killed_run_goes_on_and_ends_with_the_same_files(world):
    whole = world.write(out="whole")

    def killed(img0, img1, K0=None, K1=None):
        if world.calls == 5:
            raise KeyboardInterrupt
        return world.match(img0, img1)

    with pytest.raises(KeyboardInterrupt):
        world.write(matcher=killed)
    assert not (world.folder / "out" / "features.h5").exists()
    heard = []
    written = world.write(on_pair=heard.append)
    assert world.calls == 6
    assert written.num_new == 1
    assert heard == [" ".join(pair) for pair in SFM_PAIRS]
    assert_same_files(written, whole)
    assert world.write().num_new == 0


def test_a_process_killed_in_the_midst_of_a_pair_leaves_the_pairs_before(tmp_path):
    script = """
import os, pathlib, sys
import numpy as np
from astr_jax.evaluation.localisation.hloc_files import DenseMatches
from astr_jax.evaluation.scores.found import FoundMatches
found = FoundMatches(points0=np.ones((9, 2)), points1=np.ones((9, 2)), confidence=np.ones(9))
dense = DenseMatches(pathlib.Path(sys.argv[1]), {"size": 8}, print)
dense.write(("a/1.jpg", "b/2.jpg"), found)
dense.file["a-1.jpg/b-3.jpg/keypoints0"] = np.ones((9, 2))
dense.file.flush()
os._exit(9)
"""
    path = tmp_path / "dense.h5"
    assert subprocess.run([sys.executable, "-c", script, path], check=False).returncode == 9
    said = []
    with DenseMatches(path, {"size": 8}, said.append) as dense:
        assert ("a/1.jpg", "b/2.jpg") in dense
        assert ("a/1.jpg", "b/3.jpg") not in dense
        found = FoundMatches(
            points0=np.ones((4, 2)), points1=np.ones((4, 2)), confidence=np.ones(4)
        )
        dense.write(("a/1.jpg", "b/3.jpg"), found)
        assert len(dense.read(("a/1.jpg", "b/3.jpg")).confidence) == 4
    assert not said


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_moved_aside_with_a_message(world, share):
    whole = world.write(out="whole")
    world.write()
    path = world.folder / "out" / "dense.h5"
    for damaged in (1, 2):
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        said = []
        assert world.write(say=said.append).num_new == 3
        (message,) = said
        assert "dense.h5 is damaged (" in message
        assert f"dense.damaged{damaged}" in message
        assert path.with_suffix(f".damaged{damaged}").exists()
    assert_same_files(world.write(), whole)


def test_a_file_that_another_process_writes_to_is_left_alone(world):
    world.write()
    path = world.folder / "out" / "dense.h5"
    script = "import h5py, sys; f = h5py.File(sys.argv[1], 'a'); print('open', flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", script, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with other:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(OSError, match="lock"):
            world.write()
        other.communicate("\n")
    assert [p.name for p in path.parent.glob("dense.*")] == ["dense.h5"]


def test_damaged_keypoints_are_not_made_anew_behind_a_models_back(world):
    features = world.write().features
    features.write_bytes(features.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"features\.h5 is damaged.*begin with the first list"):
        world.write("loc")


def test_failing_pairs_are_told_before_keypoints_are_fixed_and_tried_again(world):
    def failing(img0, img1, K0=None, K1=None):
        if img0[0, 0] == 20:
            raise RuntimeError("out of film")
        return world.match(img0, img1)

    with pytest.raises(
        ValueError, match=r"1 of 3 pairs failed, the first: db/a\.png db/b\.png \(R"
    ):
        world.write(matcher=failing)
    assert not (world.folder / "out" / "features.h5").exists()
    written = world.write(matcher=failing, allow_failures=True, out="other")
    assert written.failures == {"db/a.png db/b.png": "RuntimeError: out of film"}
    assert [len(points) for points in hloc_matches(written, *SFM_PAIRS[0])] == [0, 0]
    assert len(hloc_matches(written, *SFM_PAIRS[1])[0]) == 110
    assert_same_files(world.write(), world.write(out="whole"))


def test_a_folder_of_another_matcher_or_size_is_refused(world):
    world.write(settings={"matcher": "sift", "steps": (1, 2)})
    world.write(settings={"matcher": "sift", "steps": (1, 2)})
    with pytest.raises(
        ValueError, match=r"dense\.h5 was begun with other settings: matcher differ"
    ):
        world.write(settings={"matcher": "astr", "steps": (1, 2)})


def test_lists_and_pictures_that_are_wrong_are_named(world):
    path = world.folder / "sfm.txt"
    path.write_text("db/a.png db/b.png\n\ndb/a.png\n")
    with pytest.raises(ValueError, match=r"sfm\.txt, line 3: expected two pictures; got 'db/a"):
        world.write()
    path.write_text("db/a.png db/lost.png\n")
    with pytest.raises(FileNotFoundError, match=r"1 of the 2 pictures.*the first: db/lost\.png"):
        world.write()
    path.write_text("\n")
    with pytest.raises(ValueError, match=r"sfm\.txt has no pair"):
        world.write()
    Image.new("L", SIZE).save(world.folder / "images" / "db-a.png")
    path.write_text("db/a.png db-a.png\n")
    with pytest.raises(ValueError, match="differ in nothing but"):
        world.write()


def test_a_pair_in_both_directions_is_matched_once(world):
    path = world.folder / "sfm.txt"
    path.write_text("db/a.png db/b.png\ndb/b.png db/a.png\ndb/a.png db/b.png\n")
    assert read_pair_list(path) == [("db/a.png", "db/b.png")]


def test_a_cells_keypoint_is_where_most_confidence_is():
    #       one cell of side 8: three points near (2, 2), one more confident near (6, 6)
    points = np.array([[2.0, 2.0], [2.2, 2.0], [2.0, 2.2], [6.0, 6.0], [20.0, 3.0]])
    confidence = np.array([0.4, 0.4, 0.4, 0.9, 0.1])
    keypoints, score = choose_keypoints(points, confidence, RULE)
    np.testing.assert_allclose(keypoints, [[6.2 / 3, 6.2 / 3], [20, 3]], atol=1e-6)
    np.testing.assert_allclose(score, [1.2, 0.1], atol=1e-6)
    few = Quantisation(cell=8, max_error=2, max_keypoints=1)
    assert len(choose_keypoints(points, confidence, few)[0]) == 1
    numbers = nearest_keypoints(points, KDTree(keypoints), 2.0)
    np.testing.assert_array_equal(numbers, [0, 0, 0, -1, 1])


def test_a_keypoint_keeps_its_best_match_alone():
    partner, score = one_to_one(
        np.array([0, 0, 1, 2, -1]), np.array([5, 6, 5, -1, 7]), np.array([0.5, 0.9, 0.7, 1, 1]), 4
    )
    np.testing.assert_array_equal(partner, [6, 5, -1, -1])
    np.testing.assert_allclose(score, [0.9, 0.7, 0, 0])
    with pytest.raises(ValueError, match="cell 0 or at least max_error"):
        Quantisation(cell=1, max_error=2)


def test_the_next_command_names_the_files_that_were_written(world):
    written = world.write()
    places = {"dataset": world.folder, "image_dir": world.folder / "images"}
    for benchmark, name, module in (
        ("aachen", "sfm", "hloc.triangulation"),
        ("aachen", "loc", "hloc.localize_sfm"),
        ("inloc", "loc", "hloc.localize_inloc"),
    ):
        pairs_file = world.folder / f"{name}.txt"
        command = next_command(benchmark, written, pairs_file=pairs_file, **places)
        assert command.startswith(f"python -m {module} ")
        for path in (written.features, written.matches, pairs_file):
            assert f" {path}" in command
    assert set(PROTOCOLS) == {"aachen", "inloc"}
    with pytest.raises(ValueError, match="no 'rome'"):
        next_command("rome", written, pairs_file=pairs_file, **places)
