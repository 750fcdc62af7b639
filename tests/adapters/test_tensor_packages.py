"""kornia, hloc, vismatch and glue-factory: each is given what astr_jax finds, in its own form."""

import importlib
import inspect
import sys

import numpy as np
import pytest

from astr_jax.images import to_grey
from astr_jax.matching import Matcher
from astr_jax.types import Matches


@pytest.fixture
def run(adapter, options, to_tensors):
    """run(package, images, **more) -> points of both images and confidences, as arrays, and
    all that the adapter gave. images: two arrays [c h w]; more: what else the package takes."""

    def kornia(images, **more):
        found = adapter("kornia").ASTR(**options)(
            {"image0": images[0][None], "image1": images[1][None], **more}
        )
        return found["keypoints0"], found["keypoints1"], found["confidence"], found

    def hloc(images, **more):
        found = adapter("hloc").ASTR(options)(
            {"image0": images[0][None], "image1": images[1][None], **more}
        )
        return found["keypoints0"], found["keypoints1"], found["scores"], found

    def vismatch(images, **more):
        pytest.importorskip("vismatch")
        found = adapter("vismatch").AstrMatcher(**options)._forward(*images)
        assert found[2:6] == (None,) * 4
        return *found[:2], found[6], {}

    def gluefactory(images, **more):
        views = {f"view{k}": {"image": images[k][None], **more} for k in (0, 1)}
        found = adapter("gluefactory").ASTR(options)(views)
        points = (found[f"keypoints{k}"][0] for k in (0, 1))
        return *points, found["matching_scores0"][0], found

    packages = {f.__name__: f for f in (kornia, hloc, vismatch, gluefactory)}

    def found(package, images, **more):
        *arrays, everything = packages[package](to_tensors(*images), **more)
        host = [a if isinstance(a, np.ndarray) else a.cpu().numpy() for a in arrays]
        return *host, everything

    return found


PACKAGES = ("kornia", "hloc", "vismatch", "gluefactory")
of_each = pytest.mark.parametrize("package", PACKAGES)


def points_of(package, matches):
    """What a package must be given of matches of (image0, image1)."""
    half = 0.5 if package == "gluefactory" else 0.0
    return matches.keypoints0 + half, matches.keypoints1 + half


@of_each
def test_it_gives_what_astr_jax_finds(run, package, photos, expected):
    """Above all, whether (0, 0) or (0.5, 0.5) is the centre of the top-left pixel."""
    images = photos[::-1] if package == "hloc" else photos
    points0, points1, confidence, _ = run(package, [image[None] for image in images])
    if package == "hloc":
        points0, points1 = points1, points0
    true0, true1 = points_of(package, expected)
    np.testing.assert_array_equal(points0, true0)
    np.testing.assert_array_equal(points1, true1)
    np.testing.assert_array_equal(confidence, expected.confidence)
    assert points0.dtype == points1.dtype == confidence.dtype == np.float32


@of_each
def test_the_points_of_one_image_lie_on_the_grid_of_its_cells(run, package, photos):
    """Of image 0; for hloc of image 1, as its own dense matchers do."""
    points = run(package, [image[None] for image in photos])
    half = 0.5 if package == "gluefactory" else 0.0
    on_grid = [((points[k] - half) % 8 == 0).all() for k in (0, 1)]
    assert on_grid == ([False, True] if package == "hloc" else [True, False])


@of_each
def test_three_channels_are_red_green_and_blue(run, package, photos):
    colour = [np.stack([image, image * 0, image[::-1] / 4]) for image in photos]
    grey = [to_grey(image.transpose(1, 2, 0), "image")[0] for image in colour]
    as_colour, as_grey = run(package, colour)[:3], run(package, grey)[:3]
    for actual, true in zip(as_colour, as_grey, strict=True):
        np.testing.assert_array_equal(actual, true)
    blue_first = run(package, [image[::-1].copy() for image in colour])
    assert not np.array_equal(as_colour[2], blue_first[2])


@of_each
@pytest.mark.parametrize("factor", [255, 2, np.nan])
def test_what_does_not_lie_within_0_and_1_is_refused(run, package, photos, factor):
    with pytest.raises(ValueError, match=r"image\d must lie in \[0, 1\]"):
        run(package, [image[None] * np.float32(factor) for image in photos])


@of_each
def test_what_a_resize_leaves_beyond_0_and_1_is_clipped(run, package, photos):
    beyond = [1.2 * (image[None] - 0.5) + 0.5 for image in photos]
    assert any(image.max() > 1 for image in beyond)
    clipped = [np.clip(image, 0, 1) for image in beyond]
    for actual, true in zip(run(package, beyond)[:3], run(package, clipped)[:3], strict=True):
        np.testing.assert_array_equal(actual, true)


@of_each
def test_more_than_32767_matches_stay_as_they_are(run, package, photos, many, monkeypatch):
    monkeypatch.setattr(Matcher, "match", lambda *_: many)
    points0, points1, confidence, everything = run(package, [image[None] for image in photos])
    if package == "hloc":
        points0, points1 = points1, points0
    true0, true1 = points_of(package, many)
    np.testing.assert_array_equal(points0, true0)
    np.testing.assert_array_equal(points1, true1)
    np.testing.assert_array_equal(confidence, many.confidence)
    if package == "gluefactory":
        for name in ("matches0", "matches1"):
            np.testing.assert_array_equal(everything[name].cpu().numpy(), [np.arange(40_000)])


@of_each
def test_a_pair_without_a_match_has_no_rows(run, package, photos, monkeypatch):
    monkeypatch.setattr(Matcher, "match", lambda *_: Matches.none())
    points0, points1, confidence, _ = run(package, [image[None] for image in photos])
    assert points0.shape == points1.shape == (0, 2)
    assert confidence.shape == (0,)


@pytest.mark.parametrize("package", ["kornia", "hloc"])
def test_masks_hide_where_they_are_0(run, package, photos, to_tensors, match):
    masks = np.ones((2, 1, 96, 128), np.float32)
    masks[0, ..., 104:] = masks[1, :, :24] = 0
    names = ("mask0", "mask1") if package == "kornia" else ("mask1", "mask0")
    images = photos if package == "kornia" else photos[::-1]
    given = dict(zip(names, to_tensors(*masks), strict=True))
    found = run(package, [image[None] for image in images], **given)[:2]
    hidden = {f"mask{k}": masks[k, 0] > 0 for k in (0, 1)}
    true = match(*photos, **hidden)
    assert len(true)
    points0, points1 = found if package == "kornia" else found[::-1]
    np.testing.assert_array_equal(points0, true.keypoints0)
    np.testing.assert_array_equal(points1, true.keypoints1)


def test_glue_factory_has_no_points_on_its_padding(run, photos, to_tensors, match):
    (size,) = to_tensors(np.array([[112, 80]]))  # (w, h)
    points0, points1, *_ = run("gluefactory", [p[None] for p in photos], image_size=size)
    mask = np.zeros((96, 128), bool)
    mask[:80, :112] = True
    true0, true1 = points_of("gluefactory", match(*photos, mask0=mask, mask1=mask))
    assert len(points0)
    np.testing.assert_array_equal(points0, true0)
    np.testing.assert_array_equal(points1, true1)


@pytest.mark.parametrize("package", ["kornia", "hloc", "gluefactory"])
def test_results_are_tensors_on_the_device_of_the_images(run, package, photos, to_tensors, torch):
    (there,) = to_tensors(photos[0])
    *_, found = run(package, [image[None] for image in photos])
    for name, tensor in found.items():
        assert isinstance(tensor, torch.Tensor), name
        assert tensor.device == there.device, name


@pytest.mark.parametrize("package", ["kornia", "gluefactory"])
def test_the_pairs_of_a_batch_are_matched_one_by_one(
    adapter, options, package, to_tensors, photos, monkeypatch, expected
):
    """The second pair has fewer matches than the first."""
    pairs = iter([expected, expected[:3]])
    monkeypatch.setattr(Matcher, "match", lambda *_: next(pairs))
    image0, image1 = to_tensors(*(np.stack([photo[None]] * 2) for photo in photos))
    count = len(expected)
    if package == "kornia":
        found = adapter("kornia").ASTR(**options)({"image0": image0, "image1": image1})
        numbers = found["batch_indexes"].cpu().numpy()
        assert numbers.dtype == np.int64
        np.testing.assert_array_equal(numbers, [0] * count + [1] * 3)
        second = found["keypoints1"].cpu().numpy()[count:]
        np.testing.assert_array_equal(second, expected.keypoints1[:3])
        return
    found = adapter("gluefactory").ASTR(options)(
        {"view0": {"image": image0}, "view1": {"image": image1}}
    )
    matches = found["matches0"].cpu().numpy()
    assert matches.dtype == np.int64
    np.testing.assert_array_equal(matches[0], np.arange(count))
    np.testing.assert_array_equal(matches[1], [0, 1, 2] + [-1] * (count - 3))
    assert not found["matching_scores0"].cpu().numpy()[1, 3:].any()


def test_kornia_is_refused_batches_of_other_sizes(adapter, options, to_tensors, photos):
    one, two = to_tensors(photos[0][None, None], np.stack([photos[1][None]] * 2))
    with pytest.raises(ValueError, match="of as many images"):
        adapter("kornia").ASTR(**options)({"image0": one, "image1": two})


def test_hloc_is_refused_more_than_a_pair(adapter, options, to_tensors, photos):
    images = to_tensors(*(np.stack([photo[None]] * 2) for photo in photos))
    with pytest.raises(ValueError, match="one pair at a time; got 2 and 2"):
        adapter("hloc").ASTR(options)({"image0": images[0], "image1": images[1]})


def test_hloc_finds_the_registered_matcher_as_it_finds_its_own(adapter, options):
    """hloc takes the one class of hloc.matchers.NAME that is defined there."""
    conf = adapter("hloc").register("astr", **options)
    module = importlib.import_module(f"hloc.matchers.{conf['model']['name']}")
    base = sys.modules["hloc.utils.base_model"].BaseModel
    (found,) = [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__ == module.__name__ and issubclass(kind, base)
    ]
    matcher = found(conf["model"])
    assert matcher.net.options.resize == 128
    assert str(matcher.net.weights) == options["weights"]
    assert found.default_conf["resize"] == 1024
    with pytest.raises(ValueError, match="unknown options: treshold"):
        adapter("hloc").register("astr", treshold=0.5)


def test_glue_factory_finds_one_model_in_the_module(adapter, options):
    module = adapter("gluefactory")
    base = sys.modules["gluefactory.models.base_model"].BaseModel
    (found,) = [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__ == module.__name__ and issubclass(kind, base)
    ]
    assert found({"name": module.__name__, **options}).net.options.resize == 128
    with pytest.raises(NotImplementedError, match="astr train"):
        found(options).loss({}, {})


@pytest.mark.parametrize("package", ["hloc", "vismatch", "gluefactory"])
def test_a_missing_package_is_named(package, monkeypatch):
    for name in {package, *(n for n in sys.modules if n.startswith(f"{package}."))}:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"astr_jax.adapters.{package}", raising=False)
    with pytest.raises(ImportError, match=rf"adapters\.{package} needs .* install"):
        importlib.import_module(f"astr_jax.adapters.{package}")


def test_wrong_weights_and_options_are_refused_before_any_pair(adapter):
    """And nothing is loaded yet: hloc's data loader forks after the matcher is made."""
    matcher = adapter("kornia").ASTR
    with pytest.raises(FileNotFoundError, match="nowhere"):
        matcher("nowhere")
    with pytest.raises(ValueError, match="resize"):
        matcher(resize=3)
    with pytest.raises(TypeError, match="treshold"):
        matcher(treshold=0.5)
    assert "matcher" not in vars(matcher().net)
