"""The matcher: coarse candidates, refinement by ratios of the caller's own, cameras."""

import dataclasses

import jax
import numpy as np
import pytest
from pictures import darker, picture

import astr_jax
from astr_jax.images import prepare
from astr_jax.matching import EncodedImage, EncodedImages, Matcher, MatchOptions, programs
from astr_jax.matching.first_look import Look
from astr_jax.matching.polishing import polished
from astr_jax.matching.selection import exact, only
from astr_jax.matching.working import working_intrinsics
from astr_jax.ops.matching import dual_softmax
from astr_jax.ops.neighbourhoods import log_confidence_at
from astr_jax.params import Calibration, Params, fold_params

RESIZE = 128


@pytest.fixture(scope="module")
def params(nano_config, nano_variables):
    return fold_params(Params(nano_variables, nano_config, Calibration(threshold=0.0)))


@pytest.fixture(scope="module")
def matcher(params):
    return Matcher(params, MatchOptions(resize=RESIZE))


@pytest.fixture(scope="module")
def images(matcher):
    image = picture(96, 128)
    return matcher.encode(image), matcher.encode(darker(image))


def assert_same(actual, expected):
    for name, value in vars(expected).items():
        np.testing.assert_array_equal(getattr(actual, name), value, err_msg=name)


def test_options_are_frozen_and_checked():
    with pytest.raises(dataclasses.FrozenInstanceError):
        MatchOptions().resize = 10
    with pytest.raises(ValueError, match="resize must be at least 64 pixels; got 10"):
        MatchOptions(resize=10)


def test_refining_the_candidates_is_a_match(matcher, images):
    found = matcher.refine(matcher.candidates(*images))
    plain = Matcher(matcher.params, MatchOptions(resize=RESIZE, polish=False))
    assert_same(found, plain.match(*images))
    image = picture(96, 128)
    expected = astr_jax.match(matcher.params, image, darker(image), resize=RESIZE)
    matches, settled = polished(found, *(image.prepared for image in images), RESIZE)
    assert_same(only(matches, exact(matches.valid, settled)), expected)


def test_a_ratio_of_one_is_no_scaling(params, matcher, images):
    options = MatchOptions(resize=RESIZE, estimator="none", polish=False)
    expected = Matcher(params, options).match(*images)
    found = matcher.refine(matcher.candidates(*images), ratio=1.0)
    assert_same(found, expected)


def test_each_candidate_may_have_a_ratio_of_its_own(matcher, images):
    candidates = matcher.candidates(*images)
    ratio = np.exp(np.random.default_rng(0).normal(0, 0.4, candidates.cells.cell0.shape))
    found = matcher.refine(candidates, ratio=ratio).compact()
    np.testing.assert_allclose(found.scale, ratio[0, : len(found)], rtol=1e-6)
    other = matcher.refine(candidates, ratio=1.0).compact()
    assert np.abs(found.keypoints1 - other.keypoints1).max() > 0.01
    np.testing.assert_array_equal(found.cell1, other.cell1)


@pytest.mark.parametrize("reach", [0, 1])
def test_confidences_are_those_of_the_dual_softmax_at_each_temperature(params, reach):
    matching = dataclasses.replace(params.config.matching, reach=reach)
    config = dataclasses.replace(params.config, matching=matching)
    matcher = Matcher(params.replace(config=config), MatchOptions(resize=RESIZE))
    images = matcher.encode(picture(96, 128)), matcher.encode(darker(picture(96, 128)))
    candidates = matcher.candidates(*images)
    config, rows = matcher.params.config.matching, 96 // 8 * (128 // 8)
    found = np.asarray(matcher.log_confidences(candidates, [1.0, 2.0]))
    assert found.shape == (2, 1, candidates.cells.cell0.shape[1])
    valid = np.asarray(candidates.cells.valid[0])
    assert valid.sum() > 5
    for factor, log_confidence in zip((1.0, 2.0), found[:, 0], strict=True):
        f0, f1 = (features[0, :rows] for features in candidates.maps)
        ones = np.ones(rows, bool)
        temperature = config.temperature * factor
        matrix = dual_softmax(f0, f1, ones, ones, temperature=temperature, block=config.block)
        cells = candidates.cells
        grids = (12, 16), (12, 16)
        expected = log_confidence_at(matrix, cells.cell0[0], cells.cell1[0], *grids, reach=reach)
        np.testing.assert_allclose(log_confidence[valid], expected[valid], atol=1e-4)
    confidence = np.exp(found[0, 0][valid])
    np.testing.assert_allclose(confidence, candidates.cells.confidence[0][valid], rtol=1e-4)


@pytest.mark.parametrize(("scales", "each"), [(1, 1), ("auto", 2)])
def test_an_image_is_encoded_when_it_is_first_needed_and_once(params, monkeypatch, scales, each):
    matcher = Matcher(params, MatchOptions(resize=RESIZE, scales=scales))
    monkeypatch.setattr(matcher, "_look", looked_at_and_found_to_be_of_one_scale)
    calls, encode = [], programs.run_encode
    monkeypatch.setattr(programs, "run_encode", lambda *a, **k: calls.append(1) or encode(*a, **k))
    image0, image1 = matcher.encode(picture(96, 128)), matcher.encode(picture(96, 128, seed=1))
    assert not calls
    matcher.match(image0, image1)
    matcher.match(image1, image0)
    assert len(calls) == 2 * each  # the first look encodes too


def looked_at_and_found_to_be_of_one_scale(image0, image1, turn, scale):
    image0.at(0, 2), image1.at(turn, 2)
    return Look(float(scale == 1), 1.0)


@pytest.mark.parametrize(("scale", "agreeing"), [(1.0, 0.4), (2.0, 0.1), (0.25, 0.025)])
def test_a_look_counts_what_agrees_by_the_cells_of_scale_1(params, monkeypatch, scale, agreeing):
    """A smaller picture has fewer cells, of which a larger share agrees by chance."""
    monkeypatch.setattr(programs, "run_look", lambda *_, **__: (3.0, 0.4))
    matcher = Matcher(params, MatchOptions(resize=RESIZE))
    image = matcher.encode(picture(96, 128))
    assert matcher._look(image, image, 0, scale) == Look(3.0, pytest.approx(agreeing))


def test_the_cache_forgets_what_was_not_used_for_longest():
    encoded, prepared = [], prepare(picture(96, 128), None, resize=RESIZE, name="image")

    def encode(image, mask, name):
        encoded.append(image)
        return EncodedImage(prepared, lambda *_: None, image)

    images = EncodedImages(encode, keep=2)
    for name in ("a", "b", "a", "c", "a", "b"):
        assert images.get(name, "image").name == name
    assert encoded == ["a", "b", "c", "b"]


def test_a_matcher_of_a_batch_gives_a_row_for_each_pair(matcher):
    both = np.stack([picture(96, 128, seed) for seed in (0, 1)])[..., None]
    found = matcher.match(matcher.encode(both), matcher.encode(both))
    assert isinstance(found.valid, jax.Array)
    assert found.valid.shape[0] == 2


def test_intrinsics_follow_the_pixels():
    # A camera point projects the same way before and after shrinking.
    prepared = prepare(picture(101, 256), None, resize=RESIZE, name="image")
    K = np.array([[300.0, 0, 127], [0, 310, 50], [0, 0, 1]])
    ray = np.array([0.1, -0.05, 1.0])
    working = working_intrinsics(K, prepared, "K0")[0] @ ray
    given = (working[:2] + 0.5) * prepared.scale - 0.5
    np.testing.assert_allclose(given, (K @ ray)[:2], rtol=1e-5)


def test_without_intrinsics_they_are_nan():
    prepared = prepare(picture(101, 256), None, resize=RESIZE, name="image")
    assert np.isnan(working_intrinsics(None, prepared, "K0")).all()


def test_intrinsics_choose_the_pose_estimator():
    assert MatchOptions().estimator_for(None, None) == "affine"
    assert MatchOptions().estimator_for(np.eye(3), np.eye(3)) == "pose"
    assert MatchOptions(estimator="none").estimator_for(None, None) == "none"
