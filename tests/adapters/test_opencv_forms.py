"""OpenCV: keypoints, matches and points that its own functions take."""

import cv2
import numpy as np
import pytest
from PIL import Image

from astr_jax.adapters.opencv import to_opencv, to_points
from astr_jax.images import read_pixels, to_grey


def test_row_by_row_keypoints_and_matches_are_the_matches(many):
    found = many[:50]
    keypoints0, keypoints1, matches = to_opencv(found)
    np.testing.assert_array_equal(cv2.KeyPoint_convert(keypoints0), found.keypoints0)
    np.testing.assert_array_equal(cv2.KeyPoint_convert(keypoints1), found.keypoints1)
    assert [(m.queryIdx, m.trainIdx, m.imgIdx) for m in matches] == [(i, i, 0) for i in range(50)]
    np.testing.assert_allclose([m.distance for m in matches], 1 - found.confidence, atol=1e-7)
    np.testing.assert_array_equal([k.response for k in keypoints1], found.confidence)
    assert sorted(matches, key=lambda m: m.distance) == matches


def test_a_keypoint_is_as_much_larger_in_image_1_as_things_look_there(many):
    keypoints0, keypoints1, _ = to_opencv(many[:3])
    assert [k.size for k in keypoints0] == [8, 8, 8]
    assert [k.size for k in keypoints1] == [16, 16, 16]
    assert to_opencv(many[:1], size=5)[1][0].size == 10


def test_padding_is_left_out(many):
    found = many[:6].replace(valid=np.array([True, False, True, False, False, True]))
    assert [len(part) for part in to_opencv(found)] == [3, 3, 3]
    np.testing.assert_array_equal(to_points(found)[0], found.keypoints0[[0, 2, 5]])


def test_no_match_gives_empty_lists_and_arrays_of_two_columns(many):
    assert to_opencv(many[:0]) == ([], [], [])
    assert [points.shape for points in to_points(many[:0])] == [(0, 2), (0, 2)]
    assert {points.dtype for points in to_points(many)} == {np.dtype(np.float32)}


def test_a_batch_is_refused(many):
    for form in (to_opencv, to_points):
        with pytest.raises(ValueError, match=r"one with matches\[i\]"):
            form(many[None])


def test_opencv_draws_and_estimates_from_more_than_32767_matches(many):
    keypoints0, keypoints1, matches = to_opencv(many)
    assert matches[-1].trainIdx == 39_999
    canvas = np.zeros((64, 640), np.uint8)
    drawn = cv2.drawMatches(canvas, keypoints0, canvas, keypoints1, matches[-50:], None)
    assert drawn.any()
    H, inliers = cv2.findHomography(*to_points(many), cv2.USAC_MAGSAC, 1.0)
    assert inliers.sum() == 40_000
    np.testing.assert_allclose(H, [[1, 0, 0.25], [0, 1, 0.25], [0, 0, 1]], atol=1e-4)


def test_both_read_a_turned_file_alike(tmp_path, photos):
    """cv2.imread turns by the EXIF tag, as astr_jax does: points of files fit its pixels."""
    file, tag = tmp_path / "turned.png", Image.Exif()
    tag[0x0112] = 6
    Image.fromarray(np.uint8(255 * photos[0])).save(file, exif=tag)
    theirs = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    assert theirs.shape == (128, 96)
    np.testing.assert_array_equal(theirs, read_pixels(str(file), "file"))


def test_its_colours_must_be_turned_round_first(tmp_path, rng):
    file = tmp_path / "colour.png"
    Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(file)
    true, _ = to_grey(str(file), "file")
    bgr = cv2.imread(str(file))
    turned, _ = to_grey(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), "array")
    as_it_is, _ = to_grey(bgr, "array")
    np.testing.assert_array_equal(turned, true)
    assert not np.allclose(as_it_is, true, atol=0.1)
