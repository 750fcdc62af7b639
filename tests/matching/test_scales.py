"""Matching at several scales: which are chosen, and what becomes of their matches."""

import functools

import cv2
import jax
import numpy as np
import pytest
from matplotlib import cbook
from pictures import darker, picture
from PIL import Image

import astr_jax
from astr_jax.matching import Matcher, MatchOptions
from astr_jax.matching.scales import (
    ENOUGH,
    as_at_full_size,
    check_scales,
    chosen_scales,
    further_scales,
    merged,
    shrinks,
    surest,
)
from astr_jax.params import Calibration, Params, fold_params
from astr_jax.types import Matches

RESIZE = 128


def matches_of(cell0, confidence, *, cell1=None, valid=None):
    """Matches of one pair whose points are told apart by their confidence."""
    cell0, confidence = np.asarray(cell0, np.int32), np.asarray(confidence, np.float32)
    points = np.stack([100 * confidence, confidence], axis=-1)
    return Matches(
        keypoints0=points,
        keypoints1=points + 1,
        confidence=confidence,
        covariance=np.tile(np.eye(2, dtype=np.float32), (len(cell0), 1, 1)),
        scale=np.ones(len(cell0), np.float32),
        cell0=cell0,
        cell1=np.asarray(cell0 if cell1 is None else cell1, np.int32),
        valid=np.ones(len(cell0), bool) if valid is None else np.asarray(valid),
    )


@pytest.mark.parametrize(
    ("evidence", "scales"),
    [
        ({1: 10, 2: 1, 0.5: 1}, (1,)),
        ({1: 10, 2: 10 * ENOUGH, 0.5: 1}, (1, 2)),
        ({1: 1, 2: 2, 0.5: 30, 0.25: 2}, (0.5,)),
        ({1: 10, 2: 9, 0.5: 8}, (1, 2)),
        ({1: 0, 2: 1, 0.5: 0, 4: 5}, (4,)),
        ({1: 0, 2: 0, 0.5: 0}, (1,)),
    ],
)
def test_the_surest_scale_is_matched_and_one_that_is_nearly_as_sure(evidence, scales):
    assert chosen_scales(evidence) == scales


@pytest.mark.parametrize(
    ("evidence", "further"),
    [
        ({1: 10, 2: 9, 0.5: 1}, ()),
        ({1: 1, 2: 2, 0.5: 1}, (4,)),
        ({1: 1, 2: 0, 0.5: 3}, (0.25,)),
        ({1: 0, 2: 0, 0.5: 0}, ()),
    ],
)
def test_further_scales_are_looked_at_beyond_one_that_is_surer_than_none(evidence, further):
    assert further_scales(evidence) == further


def test_at_a_scale_the_image_with_the_larger_things_is_made_smaller():
    found = [shrinks(scale) for scale in (1.0, 2.0, 0.5, 4.0, 0.25)]
    assert found == [(1, 1), (1, 2), (2, 1), (1, 4), (4, 1)]


@pytest.mark.parametrize(
    "scales", ["all", 3, (1, 0.3), (), 0, -2, np.nan, [[1, 2]], None, object()]
)
def test_other_scales_are_refused(scales):
    with pytest.raises(ValueError, match="scales must be"):
        MatchOptions(scales=scales)


def test_scales_are_read_once_each():
    assert check_scales("auto") is None
    assert check_scales(2) == (2.0,)
    assert check_scales((1, 2, 1.0)) == (1.0, 2.0)


def test_of_each_cell_the_surest_match_is_kept_and_all_are_sorted():
    first = matches_of([3, 5, 7], [0.9, 0.5, 0.0], valid=[True, True, False])
    second = matches_of([5, 8, 3], [0.8, 0.3, 0.2])
    found = merged([first, second], None)
    assert len(found) == 6
    compact = found.compact()
    np.testing.assert_array_equal(compact.cell0, [3, 5, 8])
    np.testing.assert_allclose(compact.confidence, [0.9, 0.8, 0.3])
    np.testing.assert_allclose(compact.keypoints0[:, 0], [90, 80, 30], rtol=1e-6)
    assert (found.cell0[3:] == -1).all()
    assert (found.confidence[3:] == 0).all()
    two = merged([first, second], 2)
    np.testing.assert_array_equal(two.compact().cell0, [3, 5])


def test_nothing_and_nothing_is_nothing():
    none = matches_of([-1, -1], [0, 0], valid=[False, False])
    assert not merged([none, none], None).valid.any()


def test_cells_of_a_shrunk_image_become_those_of_the_whole_one():
    found = matches_of([0, 9, -1], [0.9, 0.8, 0], cell1=[0, 6, -1], valid=[True, True, False])
    whole = as_at_full_size(found, 2.0, (8, 4), 8)
    np.testing.assert_array_equal(whole.cell0, [0, 9, -1])  # image 0 was not shrunk
    np.testing.assert_array_equal(whole.cell1, [0, 2 * 8 + 4, -1])  # (2, 1) of 4 columns
    np.testing.assert_allclose(whole.scale, 2.0)
    assert as_at_full_size(found, 1.0, (8, 8), 8) is found


def test_of_the_same_points_the_surest_answer_is_taken():
    first = matches_of([1, 2], [0.9, 0.4])
    second = matches_of([1, 2], [0.95, 0.8], valid=[False, True])
    found = surest([first, second])
    np.testing.assert_allclose(found.confidence, [0.9, 0.8])
    assert found.valid.all()


@pytest.fixture(scope="module")
def params(nano_config, nano_variables):
    return fold_params(Params(nano_variables, nano_config, Calibration(threshold=0.0)))


@pytest.fixture(scope="module")
def images():
    """A picture, and the same a little darker."""
    image = picture(96, 128)
    return image, darker(image)


def test_a_scale_is_matched_as_if_the_image_were_given_smaller(params, images):
    img0, img1 = images
    found = astr_jax.match(params, img0, img1, resize=RESIZE, scales=2).compact()
    matcher = Matcher(params, MatchOptions(resize=RESIZE, scales=1))
    image0 = matcher.encode(img0)
    half = matcher.encode(img1).at(0, 2)
    assert half.prepared.shape == (48, 64)
    candidates = matcher.candidates(image0, matcher.encode(img1), scale=2.0)
    again = matcher.refine(candidates).compact()
    jax.tree.map(np.testing.assert_array_equal, found, again)
    assert len(found.confidence) > 0
    assert (found.cell1 % 16 % 2 == 0).all()


def test_several_scales_are_put_together(params, images):
    match = functools.partial(astr_jax.match, params, *images, resize=RESIZE, polish=False)
    both = match(scales=(1, 2))
    parts = [match(scales=s) for s in (1, 2)]
    jax.tree.map(np.testing.assert_array_equal, both, merged(parts, None))
    few = match(scales=(1, 2), max_matches=5)
    np.testing.assert_array_equal(few.compact().cell0, both.compact().cell0[:5])
    points = np.float32([[20, 30], [60.5, 40.25], [200, 20]])
    asked = match(scales=(1, 2), keypoints0=points)
    alone = [match(scales=s, keypoints0=points) for s in (1, 2)]
    jax.tree.map(np.testing.assert_array_equal, asked, surest(alone))
    assert not asked.valid[2]


def test_the_first_look_finds_turns_and_scales(photo):
    """By the weights that ship: random ones cannot."""
    matcher = Matcher(astr_jax.load(), MatchOptions(resize=320, upright=False))
    image, (height, width) = matcher.encode(photo), photo.shape
    part = photo[height // 4 : -height // 4, width // 4 : -width // 4]
    enlarged = cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC)
    assert matcher.plan(image, matcher.encode(np.rot90(enlarged, -1)))[0] == 1
    assert 2.0 in matcher.plan(image, matcher.encode(enlarged))[1]
    turn, scales = matcher.plan(image, matcher.encode(np.rot90(photo, 2)))
    assert (turn, scales) == (2, (1.0,))
    quarter = cv2.resize(photo, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    small = np.full(photo.shape, 128, np.uint8)
    small[90 : 90 + len(quarter), 120 : 120 + quarter.shape[1]] = quarter
    assert matcher.plan(matcher.encode(small), image)[1][0] in (2.0, 4.0)
    assert matcher.plan(image, matcher.encode(small))[1][0] in (0.5, 0.25)


def test_an_image_on_its_side_is_taken_so_without_being_asked(photo):
    """And one that stands is not looked at otherwise; by the weights that ship."""
    matcher = Matcher(astr_jax.load(), MatchOptions(resize=320))
    image, lying = matcher.encode(photo), matcher.encode(np.rot90(photo, 3))
    assert matcher.plan(image, lying) == (1, (1.0,))
    assert matcher.glance(image, lying)[:2] == (1, (1.0,))
    assert matcher.glance(image, lying).agreeing > 0.1
    standing = matcher.encode(photo)
    assert matcher.plan(image, standing) == (0, (1.0,))
    assert {turn for turn, _ in standing._views} == {0}
    upright = Matcher(astr_jax.load(), MatchOptions(resize=320, upright=True))
    assert upright.plan(image, lying)[0] == 0


@pytest.fixture(scope="module")
def photo():
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        image = np.asarray(Image.open(file).convert("L"))
    return cv2.resize(image[60:444], (320, 240), interpolation=cv2.INTER_AREA)


def test_nothing_is_looked_at_where_there_is_no_choice(params, images, monkeypatch):
    matcher = Matcher(params, MatchOptions(resize=RESIZE, scales=1))
    monkeypatch.setattr(matcher, "_look", None)
    encoded = [matcher.encode(image) for image in images]
    assert matcher.plan(*encoded) == (0, (1.0,))
    auto = Matcher(params, MatchOptions(resize=RESIZE))
    monkeypatch.setattr(auto, "_look", None)
    batch = auto.encode(np.stack([images[0]] * 2)[..., None])
    assert auto.plan(batch, batch) == (0, (1.0,))
    several = Matcher(params, MatchOptions(resize=RESIZE, scales=(1, 2)))
    with pytest.raises(ValueError, match="several scales take one pair at a time"):
        several.plan(batch, batch)
