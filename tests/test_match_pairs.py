"""Many pairs: what tells their images apart, their masks, and what becomes of a bad one."""

import numpy as np
import pytest
from pictures import darker, picture
from PIL import Image

import astr_jax
from astr_jax.images import ImageWarning, content_key
from astr_jax.matching import Matcher, MatchOptions, programs
from astr_jax.params import Calibration, Params, fold_params

RESIZE = 128
OPTIONS = {"resize": RESIZE, "scales": 1, "polish": False}


@pytest.fixture(scope="module")
def params(nano_config, nano_variables):
    return fold_params(Params(nano_variables, nano_config, Calibration(threshold=0.0)))


def assert_same(actual, expected):
    for name, value in vars(expected).items():
        np.testing.assert_array_equal(getattr(actual, name), value, err_msg=name)


@pytest.mark.parametrize("form", ["array", "memory of another", "PIL", "file"])
def test_a_buffer_that_is_filled_again_is_another_image(params, tmp_path, form):
    """As a camera's loop does. Fails where images are told apart by identity or by name alone."""
    first, frames = picture(96, 128, 7), [darker(picture(96, 128, seed)) for seed in range(3)]
    buffer, path = np.empty((96, 128), np.uint8), tmp_path / "frame.png"
    held = Image.new("L", (128, 96))

    def refilled():
        for number, frame in enumerate(frames):
            buffer[:] = frame
            held.paste(Image.fromarray(frame))
            Image.fromarray(np.vstack([frame, frame[:number]])[: len(frame)]).save(path)
            given = {"array": buffer, "memory of another": buffer[:], "PIL": held, "file": path}
            yield first, given[form]

    found = list(astr_jax.match_pairs(params, refilled(), **OPTIONS))
    for frame, matches in zip(frames, found, strict=True):
        assert_same(matches, astr_jax.match(params, first, frame, **OPTIONS))
    assert not np.array_equal(found[0].keypoints1, found[1].keypoints1)


def test_equal_arrays_are_encoded_once(params, monkeypatch):
    calls, encode = [], programs.run_encode
    monkeypatch.setattr(programs, "run_encode", lambda *a, **k: calls.append(1) or encode(*a, **k))
    one, two = picture(96, 128), picture(96, 128, seed=1)
    pairs = [(one, two), (two.copy(), one.copy())]
    list(astr_jax.match_pairs(params, pairs, **OPTIONS))
    assert len(calls) == 2


def test_contents_are_told_apart_by_shape_type_and_pixels(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(4, 6)
    palette = Image.fromarray(array % 4).convert("P")
    other = palette.copy()
    other.putpalette([255 - value for value in palette.getpalette()])
    path = tmp_path / "a.png"
    Image.fromarray(array).save(path)
    images = [
        *(None, array, array.reshape(6, 4), array.view(np.int8), array + 1, array[:, ::-1]),
        *(palette, other, Image.fromarray(array), path, path.read_bytes(), tmp_path / "b.png"),
    ]
    assert len({content_key(image) for image in images}) == len(images)
    assert content_key(array[:, ::-1]) == content_key(np.ascontiguousarray(array[:, ::-1]))
    assert content_key(str(path)) == content_key(path)


def test_masks_are_those_of_match(params, tmp_path):
    one, two = picture(96, 128), darker(picture(96, 128))
    mask = np.ones((96, 128), bool)
    mask[:, :64] = False
    Image.fromarray(mask).save(tmp_path / "mask.png")
    forms = [mask, mask[..., None], tmp_path / "mask.png", (tmp_path / "mask.png").read_bytes()]
    expected = astr_jax.match(params, one, two, mask0=mask, **OPTIONS)
    assert expected.valid.sum() > 0
    assert (expected.keypoints0[expected.valid][:, 0] >= 64).all()
    for form in forms:

        def mask_of(image, form=form):
            return form if image is one else None

        found = astr_jax.match_pairs(params, [(one, two)], masks=mask_of, **OPTIONS)
        assert_same(next(found), expected)


def test_alpha_may_be_the_mask(params):
    one, two = picture(96, 128), darker(picture(96, 128))
    mask = np.ones((96, 128), bool)
    mask[:, :64] = False
    seen = np.stack([one, np.where(mask, 255, 10)], axis=-1).astype(np.uint8)
    hidden = astr_jax.match(params, one, two, mask0=mask, **OPTIONS)
    plain = astr_jax.match(params, one, two, **OPTIONS)
    for form in (seen, Image.fromarray(seen, "LA"), seen / 255):
        assert_same(astr_jax.match(params, form, two, alpha="mask", **OPTIONS), hidden)
        assert_same(astr_jax.match(params, form, two, **OPTIONS), plain)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("missing.png", "img1 of pair 1: there is no file missing.png"),
        (b"cut", "img1 of pair 1: what was given is not an image"),
        (None, "img1 of pair 1 is None"),
    ],
)
def test_a_bad_picture_is_skipped_where_this_is_asked_for(params, bad, words):
    one, two = picture(96, 128), darker(picture(96, 128))
    pairs = [(one, two), (one, bad), (two, one)]
    found = astr_jax.match_pairs(params, pairs, on_error="skip", **OPTIONS)
    assert_same(next(found), astr_jax.match(params, one, two, **OPTIONS))
    with pytest.warns(ImageWarning, match=f"pair 1 is skipped: {words}"):
        nothing = next(found)
    assert len(nothing) == len(nothing.compact()) == 0
    assert nothing.keypoints0.shape == (0, 2)
    assert_same(next(found), astr_jax.match(params, two, one, **OPTIONS))
    with pytest.raises(StopIteration):
        next(found)


def test_no_row_has_the_fields_of_matches_that_were_found(params):
    found = astr_jax.match(params, picture(96, 128), picture(96, 128, 1), **OPTIONS).compact()
    for name, value in vars(astr_jax.types.Matches.none()).items():
        other = getattr(found, name)
        assert (value.shape[1:], value.dtype) == (other.shape[1:], other.dtype), name


@pytest.mark.parametrize("pair", ["ab", (1,), (1, 2, 3), None])
def test_what_is_no_pair_is_named(params, pair):
    with pytest.raises(ValueError, match=r"pair 0 must be two images, \(img0, img1\); got"):
        next(astr_jax.match_pairs(params, [pair], **OPTIONS))


def test_an_unknown_way_with_errors_is_refused_at_the_call(params):
    with pytest.raises(ValueError, match="on_error must be one of"):
        astr_jax.match_pairs(params, [], on_error="ignore")


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((39, 128), "128 x 39 pixels as it is matched.*Enlarge it"),
        ((100, 1000), r"img1 is 128 x 13 pixels.*Raise resize to 400, or cut it"),
        ((1000, 100), r"img1 is 13 x 128 pixels.*Raise resize to 400"),
    ],
)
def test_a_picture_too_narrow_for_a_match_is_named(params, shape, words):
    matcher = Matcher(params, MatchOptions(**OPTIONS))
    with pytest.warns(ImageWarning, match=words):
        matcher.encode(picture(*shape), name="img1")
    matcher.encode(picture(40, 128))  # of enough pixels nothing is said
    matcher.encode(picture(400, 1000))
