"""What hloc reads from the files of a localisation."""

import h5py
import numpy as np
import pytest
from hloc_world import (
    DATABASE,
    QUERIES,
    SFM_PAIRS,
    SIZE,
    assert_same_files,
    content,
    hloc_matches,
)
from PIL import Image
from scipy.spatial import KDTree

from astr_jax.evaluation.localisation import export
from astr_jax.evaluation.localisation.export import PROTOCOLS, next_command
from astr_jax.reconstruction.pairs import read_pairs


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


def test_each_picture_is_encoded_once_and_matched_as_it_was_encoded(world):
    encoded = []

    def encode(image):
        assert image.shape == (60, 80)
        assert image.dtype == np.uint8
        encoded.append(int(image[0, 0]))
        return {"encoded": image}

    def match(given0, given1, K0=None, K1=None):
        return world.match(given0["encoded"], given1["encoded"])

    written = world.write("loc", match, encode=encode)
    assert encoded == [40, 10, 20, 50]  # of four pairs, in the order in which they are met
    assert (written.num_new, world.calls) == (4, 4)
    assert_same_files(written, world.write("loc", out="plain"))


def test_a_picture_that_was_not_met_for_long_is_encoded_again(world, monkeypatch):
    monkeypatch.setattr(export, "CACHED", 2)
    encoded = []
    world.write("loc", encode=lambda image: encoded.append(int(image[0, 0])) or image)
    assert encoded == [40, 10, 20, 50, 10, 20]


def test_a_picture_that_cannot_be_encoded_fails_its_pairs_alone(world):
    def encode(image):
        if image[0, 0] == 10:
            raise RuntimeError("out of film")
        return image

    written = world.write(encode=encode, allow_failures=True)
    assert list(written.failures.values()) == ["RuntimeError: out of film"] * 2
    assert written.num_new == 1


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


def test_lists_and_pictures_that_are_wrong_are_named(world):
    path = world.folder / "sfm.txt"
    path.write_text("db/a.png db/b.png\n\ndb/a.png\n")
    with pytest.raises(ValueError, match=r"sfm\.txt, line 3: expected two names, .*; got 'db/a"):
        world.write()
    path.write_text("db/a.png db/lost.png\n")
    with pytest.raises(FileNotFoundError, match=r"1 of the 2 pictures.*the first: db/lost\.png"):
        world.write()
    path.write_text("\n")
    with pytest.raises(ValueError, match=r"sfm\.txt has no pair"):
        world.write()
    path.write_text("db/a b.png\tdb/a.png\n")
    with pytest.raises(ValueError, match=r"parts names at blanks; rename 'db/a b\.png'"):
        world.write()
    Image.new("L", SIZE).save(world.folder / "images" / "db-a.png")
    path.write_text("db/a.png db-a.png\n")
    with pytest.raises(ValueError, match="differ in nothing but"):
        world.write()


def test_a_pair_in_both_directions_is_matched_once(world):
    path = world.folder / "sfm.txt"
    path.write_text("db/a.png db/b.png\ndb/b.png db/a.png\ndb/a.png db/b.png\n")
    assert read_pairs(path) == [("db/a.png", "db/b.png")]


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
