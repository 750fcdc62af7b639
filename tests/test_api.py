"""The call: what it takes, what it refuses, and what it promises of its results."""

import numpy as np
import pytest
from pictures import darker, picture
from PIL import Image

import astr_jax
from astr_jax.images import prepare
from astr_jax.matching import matcher, programs
from astr_jax.params import Calibration, Params, fold_params

RESIZE = 128  # canvases of 96 x 128 and 128 x 128


@pytest.fixture(scope="module")
def params(nano_config, nano_variables):
    return fold_params(Params(nano_variables, nano_config, Calibration(threshold=0.0)))


def pair(height=96, width=128):
    """An image, and the same in a slightly different light."""
    image = picture(height, width)
    return image, darker(image)


def find(params, img0, img1, **options):
    return astr_jax.match(params, img0, img1, **{"resize": RESIZE, "scales": 1, **options})


def assert_same(actual, expected):
    for name, value in vars(expected).items():
        np.testing.assert_array_equal(getattr(actual, name), value, err_msg=name)


# What it takes.


@pytest.mark.parametrize("form", ["float", "float64", "channel", "PIL", "path", "str"])
def test_every_form_of_a_grey_image_gives_the_same(params, tmp_path, form):
    img0, img1 = pair()
    path = tmp_path / "image.png"
    Image.fromarray(img0).save(path)
    given = {
        "float": img0.astype(np.float32) / 255,
        "float64": img0 / 255,
        "channel": img0[..., None],
        "PIL": Image.fromarray(img0),
        "path": path,
        "str": str(path),
    }[form]
    assert_same(find(params, given, img1), find(params, img0, img1))


def test_colour_becomes_grey_as_pillow_has_it(params):
    colour = np.stack([picture(96, 128, seed) for seed in range(3)], axis=-1)
    _, img1 = pair()
    grey = np.asarray(Image.fromarray(colour).convert("L"))
    expected = find(params, grey, img1)
    assert_same(find(params, colour, img1), expected)
    assert_same(find(params, Image.fromarray(colour), img1), expected)


def test_float_colour_has_the_weights_of_pillow():
    colour = np.random.default_rng(0).random((6, 7, 3))
    image = prepare(colour, None, resize=64, name="image")
    expected = colour @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(image.pixels[0], expected, atol=1e-6)


def test_an_image_with_an_exif_orientation_is_turned_upright(tmp_path):
    image = Image.fromarray(picture(40, 64))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    upright = prepare(tmp_path / "turned.png", None, resize=64, name="image")
    np.testing.assert_allclose(upright.pixels[0], np.rot90(np.asarray(image), -1) / 255, atol=1e-6)


def test_a_batch_gives_what_its_pairs_give(params):
    img0, img1 = pair()
    images0, images1 = np.stack([img0, img1[::-1]]), np.stack([img1, img0[::-1]])
    together = find(params, images0, images1)
    assert together.valid.shape[0] == 2
    for k in range(2):
        alone = find(params, images0[k], images1[k]).compact()
        assert len(alone) > 10
        assert_nearly_same(together[k].compact(), alone)


def assert_nearly_same(actual, expected):
    """At least 99.5 % of the matches are the same, and those within 1e-3 pixels."""
    cells = [
        {(i, j): n for n, (i, j) in enumerate(zip(m.cell0, m.cell1, strict=True))}
        for m in (actual, expected)
    ]
    common = sorted(set(cells[0]) & set(cells[1]))
    assert len(common) >= 0.995 * max(map(len, cells))
    rows = [[lookup[c] for c in common] for lookup in cells]
    for name, atol in (("keypoints0", 0), ("keypoints1", 1e-3), ("confidence", 1e-4)):
        a, b = getattr(actual, name)[rows[0]], getattr(expected, name)[rows[1]]
        np.testing.assert_allclose(a, b, atol=atol, err_msg=name)


# What it refuses.


def spoiled(change):
    image = pair()[0].astype(np.float32) / 255
    return change(image)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (spoiled(lambda x: np.where(x > 0.5, np.nan, x)), "img0 holds NaN"),
        (spoiled(lambda x: x * 255), r"spans \[0, 255\].*Divide by 255"),
        (spoiled(lambda x: x - 0.5), r"floats must lie in \[0, 1\]"),
        (spoiled(lambda x: (x * 255).astype(np.int32)), "must be uint8, or float.*got int32"),
        (spoiled(lambda x: x > 0.5), "must be uint8, or float.*got bool"),
        (spoiled(lambda x: np.stack([x] * 3)), r"Channels come last: try image.transpose\(1, 2, 0"),
        (spoiled(lambda x: np.stack([x] * 3)[None]), r"try image.transpose\(0, 2, 3, 1"),
        (spoiled(lambda x: x[0]), r"must be \[H W\].*got \(128,\)"),
        (spoiled(lambda x: x[:0]), "img0 is empty"),
        ("nowhere/left.jpg", "img0: there is no file nowhere"),
    ],
)
def test_an_image_that_is_none_is_refused_with_a_reason(params, image, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        find(params, image, pair()[1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mask0": np.ones((5, 5), bool)}, r"mask of img0 must be bool \(96, 128\)"),
        ({"mask1": np.ones((96, 128))}, "mask of img1 must be bool.*got float64"),
        ({"K0": np.eye(3)}, "K0 and K1 belong together"),
        ({"K0": np.eye(3), "K1": np.eye(4)}, r"K1 must be a \[3 3\]"),
        ({"K0": np.eye(3), "K1": np.full((3, 3), np.nan)}, "K1 must be finite"),
        ({"K0": -np.eye(3), "K1": np.eye(3)}, "K0 must have positive focal lengths"),
        ({"estimator": "pose"}, "needs the intrinsics"),
        ({"estimator": "magic"}, "estimator must be one of"),
        ({"max_matches": 0}, "max_matches must be at least 1"),
        ({"threshold": 1.0}, "threshold must lie in"),
        ({"resize": 63}, "resize must be at least 64"),
        ({"resize": None}, "resize must be a whole number.*got None"),
        ({"resize": 640.0}, "resize must be a whole number.*got 640.0"),
        ({"alpha": "blend"}, "alpha must be one of"),
        ({"mask0": np.ones((96, 128), np.uint8)}, "got uint8.*Try mask > 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(params, options, words):
    with pytest.raises(ValueError, match=words):
        find(params, *pair(), **options)


def test_bad_cameras_are_refused_before_the_work(params, monkeypatch):
    monkeypatch.setattr(programs, "run_coarse", None)
    with pytest.raises(ValueError, match="K1 must be finite"):
        find(params, *pair(), K0=np.eye(3), K1=np.full((3, 3), np.nan))


def test_batches_of_unlike_length_are_refused(params):
    img0, img1 = pair()
    with pytest.raises(ValueError, match="as many images; got 2 and 3"):
        find(params, np.stack([img0] * 2)[..., None], np.stack([img1] * 3)[..., None])


def test_other_objects_than_params_are_refused():
    with pytest.raises(ValueError, match=r"params must come from astr_jax.load\(\)"):
        astr_jax.match({"params": {}}, *pair())


def test_unknown_weights_are_named():
    with pytest.raises(FileNotFoundError, match="huge is neither shipped weights"):
        astr_jax.load("huge")


# What comes out.


def test_points_and_sigma_are_in_pixels_of_the_images_as_given(params):
    """The working images, given as they are, have the same matches in their own pixels.

    Fails where image 1's points keep working pixels or are half a pixel off, and where sigma is
    not scaled.
    """
    given = picture(181, 256), picture(180, 200, seed=1)  # working: 90 x 128 and 115 x 128
    working = [prepare(image, None, resize=RESIZE, name="image") for image in given]
    found = find(params, *given).compact()
    alone = find(params, *(image.pixels[0] for image in working)).compact()
    assert len(found) >= 5
    for name in ("cell0", "cell1", "confidence", "scale"):
        np.testing.assert_array_equal(getattr(found, name), getattr(alone, name), err_msg=name)
    scales = np.array([image.scale for image in working])
    np.testing.assert_allclose(scales, [[2.0, 181 / 90], [200 / 128, 180 / 115]])
    for k, name in enumerate(("keypoints0", "keypoints1")):
        expected = (getattr(alone, name) + 0.5) * scales[k] - 0.5
        np.testing.assert_allclose(getattr(found, name), expected, atol=1e-4, err_msg=name)
    expected = alone.covariance * np.outer(scales[1], scales[1])
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-5, atol=1e-6)


def test_points_of_image_0_are_the_centres_of_their_cells(params):
    found = find(params, picture(101, 256), picture(96, 100)).compact()  # 50 x 128 at work
    assert len(found) > 0
    across = RESIZE // 8  # cells in a row
    working = np.stack([found.cell0 % across, found.cell0 // across], axis=-1) * 8
    expected = (working + 0.5) * [2.0, 2.02] - 0.5
    np.testing.assert_allclose(found.keypoints0, expected, atol=1e-4)


def test_results_are_sorted_deterministic_and_marked(params):
    found = find(params, *pair())
    assert_same(find(params, *pair()), found)
    keep = np.asarray(found.valid)
    assert keep.any()
    assert not keep.all()
    assert (np.diff(found.confidence) <= 0).all()
    assert (keep == (found.confidence > 0)).all()
    for name in ("keypoints0", "keypoints1", "confidence", "sigma", "scale"):
        values = getattr(found, name)
        assert np.isfinite(values).all(), name
        assert (values[~keep] == 0).all(), name
    assert (found.cell0[~keep] == -1).all()
    assert (found.sigma[keep] > 0).all()
    assert len(set(found.cell0[keep])) == keep.sum()  # one to one
    assert len(set(found.cell1[keep])) == keep.sum()


def test_max_matches_keeps_the_most_confident(params):
    everything, few = (
        find(params, *pair(), polish=False).compact(),
        find(params, *pair(), polish=False, max_matches=5).compact(),
    )
    assert len(few) == 5
    np.testing.assert_array_equal(few.cell0, everything.cell0[:5])
    np.testing.assert_array_equal(few.confidence, everything.confidence[:5])
    np.testing.assert_array_equal(few.keypoints1, everything.keypoints1[:5])
    np.testing.assert_array_equal(few.scale, everything.scale[:5])


def test_threshold_keeps_what_is_above(params):
    everything = find(params, *pair(), polish=False).compact()
    least = float(np.median(everything.confidence))
    some = find(params, *pair(), threshold=least, polish=False).compact()
    np.testing.assert_array_equal(
        some.confidence, everything.confidence[everything.confidence > np.float32(least)]
    )


def test_masked_pixels_have_no_matches(params):
    img0, img1 = pair()
    mask0, mask1 = np.ones((96, 128), bool), np.ones((96, 128), bool)
    mask0[:, :48], mask1[64:] = False, False
    found = find(params, img0, img1, mask0=mask0, mask1=mask1).compact()
    assert len(found) > 0
    assert (found.keypoints0[:, 0] >= 48).all()
    assert (found.cell1 // 16 * 8 < 64).all()


def test_what_a_mask_hides_has_no_influence(params):
    img0, img1 = pair()
    mask = np.ones((96, 128), bool)
    mask[:, 80:] = False
    changed = np.where(mask, img0, 255 - img0)
    expected = find(params, img0, img1, mask0=mask).compact()
    assert_nearly_same(find(params, changed, img1, mask0=mask).compact(), expected)


def test_a_fully_masked_image_matches_nothing(params):
    found = find(params, *pair(), mask1=np.zeros((96, 128), bool))
    assert not found.valid.any()
    assert np.isfinite(found.keypoints1).all()


@pytest.mark.filterwarnings("ignore::astr_jax.images.ImageWarning")
@pytest.mark.parametrize("value", [0, 128, 255])
def test_one_pixel_matches_nothing(params, value):
    one = np.full((1, 1), value, np.uint8)
    for img0, img1 in ((one, one), (one, pair()[1]), (pair()[0], one)):
        found = find(params, img0, img1)
        assert not found.valid.any()
        assert np.isfinite(found.keypoints1).all()


def test_black_images_match_nothing_at_the_default_threshold(params):
    black = np.zeros((96, 128), np.uint8)
    for img1 in (black, pair()[1]):
        found = find(params, black, img1, threshold=Calibration().threshold)
        assert not found.valid.any()
        assert np.isfinite(found.keypoints1).all()


def test_compact_is_for_one_pair(params):
    img0, img1 = pair()
    found = find(params, np.stack([img0] * 2), np.stack([img1] * 2))
    with pytest.raises(ValueError, match=r"Take one with matches\[i\]"):
        found.compact()
    assert len(found[0].compact()) == int(found.valid[0].sum())


def test_the_estimator_none_keeps_the_scale_at_one(params):
    found = find(params, *pair(), estimator="none").compact()
    np.testing.assert_array_equal(found.scale, np.ones(len(found), np.float32))


# Many pairs.


def test_match_pairs_encodes_once_and_gives_what_match_gives(params, tmp_path, monkeypatch):
    arrays = [*pair(), picture(96, 128, seed=5)]
    paths = [tmp_path / f"{k}.png" for k in range(3)]
    for array, path in zip(arrays, paths, strict=True):
        Image.fromarray(array).save(path)
    pairs = [(0, 1), (1, 2), (2, 0)]
    calls, encode = [], programs.run_encode
    monkeypatch.setattr(programs, "run_encode", lambda *a, **k: calls.append(1) or encode(*a, **k))
    given = [(paths[i], paths[j]) for i, j in pairs]
    found = list(astr_jax.match_pairs(params, given, resize=RESIZE, scales=1))
    assert len(calls) == 3
    for (i, j), matches in zip(pairs, found, strict=True):
        assert_same(matches, find(params, arrays[i], arrays[j]))


def test_match_pairs_names_the_pair_that_fails(params):
    img0, img1 = pair()
    matches = astr_jax.match_pairs(params, [(img0, img1), (img0, "missing.png")], resize=RESIZE)
    next(matches)
    with pytest.raises(FileNotFoundError, match="img1 of pair 1"):
        next(matches)


def test_match_pairs_refuses_options_at_the_call(params):
    with pytest.raises(ValueError, match="resize must be at least 64"):
        astr_jax.match_pairs(params, [], resize=10)


@pytest.mark.filterwarnings("ignore::astr_jax.images.ImageWarning")
def test_a_folder_of_any_sizes_compiles_at_most_eight_programs(params):
    stages = programs.run_encode, programs.run_coarse, programs.run_fine, programs.run_polish
    before = sum(stage._cache_size() for stage in stages)
    resize = 160
    sizes = [(96, 128), (120, 160), (160, 120), (300, 400), (90, 400), (400, 50), (31, 33), (7, 9)]
    images = [picture(*size, seed=k) for k, size in enumerate(sizes)]
    for img0, img1 in zip(images, images[1:] + images[:1], strict=True):
        find(params, img0, img1, resize=resize)
    compiled = sum(stage._cache_size() for stage in stages) - before
    assert 1 <= compiled <= 8


def test_padding_does_not_change_results(params, monkeypatch):
    img0, img1 = pair()
    wide = find(params, img0, img1).compact()
    monkeypatch.setattr(matcher, "canvas_of", lambda shape, resize: (128, 128))
    square = find(params, img0, img1).compact()
    assert len(wide) > 10
    assert_nearly_same(square, wide)


def test_swapping_the_images_swaps_the_cells(params):
    img0, _ = pair()
    tall = picture(128, 128)
    there, back = find(params, img0, tall).compact(), find(params, tall, img0).compact()
    assert {*zip(there.cell0, there.cell1, strict=True)} == {
        *zip(back.cell1, back.cell0, strict=True)
    }
