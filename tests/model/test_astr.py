import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.config import ModelConfig
from astr_jax.layers.position import normalised_positional_encoding
from astr_jax.model.astr import ASTR, coarse_matches
from astr_jax.models.kinds import init_variables
from astr_jax.ops.grids import COARSE_STRIDE, cell_centres
from astr_jax.ops.matching import dual_softmax
from astr_jax.types import CoarseOutput

SIZES = (96, 120), (75, 90)  # of the two images, within the canvas
OWN, PADDED = (96, 128), (128, 160)


def on_canvas(images, size, canvas):
    """Images with something else around them, and masks of what is theirs."""
    whole = np.full((len(images), *canvas, 1), 0.7, np.float32)
    whole[:, : size[0], : size[1]] = images
    mask = np.zeros(whole.shape[:3], bool)
    mask[:, : size[0], : size[1]] = True
    return whole, mask


@pytest.fixture(scope="module")
def pair(make_images):
    """Two pairs of images; each image 1 is a part of its image 0."""
    image0 = np.asarray(make_images(0, (2, *SIZES[0])))
    return image0, image0[:, 16 : 16 + SIZES[1][0], 24 : 24 + SIZES[1][1]]


@pytest.fixture(scope="module")
def run(micro_config, micro_variables):
    """run(image0, image1) -> features, coarse output, matches and refined matches of a batch.

    An image is what on_canvas returns.
    """
    model = ASTR(micro_config)
    everywhere = dataclasses.replace(micro_config.matching, border=0)
    config = dataclasses.replace(micro_config, matching=everywhere)

    @jax.jit
    def stages(image0, image1):
        f0, f1 = (model.apply(micro_variables, *i, method="encode") for i in (image0, image1))
        coarse = model.apply(micro_variables, f0, f1, method="coarse")
        n = coarse.mask0.shape[1]
        matches = coarse_matches(coarse, f0.mask8, f1.mask8, config, n)
        ratio = jnp.full(matches.cell0.shape, 1.5)
        points = (
            cell_centres(cells, f.mask8.shape[2], COARSE_STRIDE)
            for cells, f in ((matches.cell0, f0), (matches.cell1, f1))
        )
        given = f0, f1, *coarse.maps, *points, ratio
        fine = model.apply(micro_variables, *given, method="fine")
        return {"f0": f0, "f1": f1, "coarse": coarse, "matches": matches, "fine": fine}

    return lambda *images: types.SimpleNamespace(**stages(*images))


@pytest.fixture(scope="module")
def own(run, pair):
    """The first pair alone, at its own size."""
    return run(*(on_canvas(i[:1], s, OWN) for i, s in zip(pair, SIZES, strict=True)))


@pytest.fixture(scope="module")
def padded(run, pair):
    """Both pairs in one batch, on a larger canvas."""
    return run(*(on_canvas(i, s, PADDED) for i, s in zip(pair, SIZES, strict=True)))


def listed_matches(found, b=0):
    """The matches of a pair as {(x0, y0, x1, y1): (confidence, refined point, sigma)}, cells."""
    valid = np.asarray(found.matches.valid[b])
    width = found.f0.mask8.shape[2]
    cells = (
        c
        for cell in (found.matches.cell0, found.matches.cell1)
        for c in (cell[b] % width, cell[b] // width)
    )
    rows = zip(*(np.asarray(c)[valid].tolist() for c in cells), strict=True)
    values = (found.matches.confidence[b], found.fine.points1[b], found.fine.covariance[b])
    values = zip(*(np.asarray(v)[valid] for v in values), strict=True)
    return dict(zip(rows, values, strict=True))


def valid_maps(found, b=0):
    """The coarse features of both images of a pair, valid cells only."""
    return [
        np.asarray(f[b])[np.asarray(m[b])]
        for f, m in (
            (found.coarse.features0, found.coarse.mask0),
            (found.coarse.features1, found.coarse.mask1),
        )
    ]


def test_neither_padding_nor_the_batch_changes_the_result(own, padded):
    for a, e in zip(valid_maps(padded), valid_maps(own), strict=True):
        np.testing.assert_allclose(a, e, atol=2e-4)
    actual, expected = listed_matches(padded), listed_matches(own)
    assert len(expected) > 10
    assert actual.keys() == expected.keys()
    for key, (confidence, point, sigma) in expected.items():
        np.testing.assert_allclose(actual[key][0], confidence, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(actual[key][1], point, atol=1e-3)
        np.testing.assert_allclose(actual[key][2], sigma, atol=1e-3)
    assert listed_matches(padded, 1).keys() != expected.keys()  # the other pair is another one


def test_swapping_the_images_swaps_the_coarse_result(run, own, pair):
    images = [on_canvas(i[:1], s, OWN) for i, s in zip(pair, SIZES, strict=True)]
    swapped = run(*images[::-1])
    for a, e in zip(valid_maps(swapped)[::-1], valid_maps(own), strict=True):
        np.testing.assert_allclose(a, e, atol=2e-4)
    actual, expected = listed_matches(swapped), listed_matches(own)
    assert {(*key[2:], *key[:2]) for key in actual} == expected.keys()
    for key, (confidence, *_) in expected.items():
        np.testing.assert_allclose(actual[(*key[2:], *key[:2])][0], confidence, rtol=1e-3)


def test_the_matrices_of_later_blocks_live_on_the_spots_before(own):
    (dense, nothing), *later = own.coarse.spot_matrices
    assert nothing is None
    assert dense.lse0.shape == own.coarse.mask0.shape
    assert len(later) == len(own.coarse.spots) - 1 > 0
    for matrices, spots in zip(later, own.coarse.spots, strict=False):
        for matrix, looks in zip(matrices, spots, strict=True):
            np.testing.assert_array_equal(matrix.index.centres, looks.centres)


def test_spots_keep_to_the_masks(own):
    for spots in own.coarse.spots:
        masks = own.coarse.mask0, own.coarse.mask1
        for looks, mask, other in zip(spots, masks, masks[::-1], strict=True):
            cells = np.asarray(jax.tree.map(lambda x: x[0], looks).lists().cells)
            mask, other = np.asarray(mask[0]), np.asarray(other[0])
            assert other[cells[cells >= 0]].all()
            assert (cells[~mask] == -1).all()
            assert (cells[mask] >= 0).any(axis=1).all()


def test_an_image_without_a_valid_pixel_gives_an_empty_finite_result(run, pair):
    image0 = on_canvas(pair[0][:1], SIZES[0], OWN)
    whole, mask = on_canvas(pair[1][:1], SIZES[1], OWN)
    image1 = whole, np.zeros_like(mask)
    for images in ((image0, image1), (image1, image0), (image1, image1)):
        found = run(*images)
        assert not found.matches.valid.any()
        leaves = jax.tree.leaves((found.coarse.features0, found.coarse.features1, found.fine))
        assert all(np.isfinite(x).all() for x in leaves)


def test_the_encoding_is_added_to_the_coarse_maps_only(micro_config, micro_variables, pair):
    side, given = (
        np.full(1, float(max(SIZES[0])), np.float32),
        on_canvas(pair[0][:1], SIZES[0], OWN),
    )
    half = dataclasses.replace(micro_config, train_side=micro_config.train_side // 2)
    one, two = (
        jax.jit(functools.partial(ASTR(config).apply, method="encode"))(micro_variables, *given)
        for config in (micro_config, half)
    )
    np.testing.assert_array_equal(one.fine, two.fine)
    for name, map_mask in (("coarse8", one.mask8), ("coarse32", one.mask32)):
        a, b = getattr(one, name), getattr(two, name)
        long, short = (
            normalised_positional_encoding(
                a.shape[1:3], 16, train_width=96, train_height=96, width=s, height=s
            )
            for s in (side, 2 * side)
        )
        expected = np.where(np.asarray(map_mask)[..., None], long - short, 0)
        np.testing.assert_allclose(a - b, expected, atol=1e-4)
        assert np.abs(expected).max() > 0.1


def plain_coarse_matches(log_prob, usable0, usable1, threshold):
    """{i: (j, confidence)}: mutual nearest, above the threshold, away from the border."""
    p = np.exp(log_prob)
    return {
        i: (j, p[i, j])
        for i, j in enumerate(p.argmax(axis=1))
        if p[:, j].argmax() == i and p[i, j] > threshold and usable0[i] and usable1[j]
    }


@pytest.mark.parametrize("threshold", [0.0, 0.3])
def test_coarse_matches_are_mutual_confident_and_off_the_border(rng, micro_config, threshold):
    f0 = rng.normal(size=(1, 99, 8)).astype(np.float32)  # 9 x 11 cells
    f1 = f0 + 0.1 * rng.normal(size=f0.shape).astype(np.float32)
    masks = np.ones((2, 1, 9, 11), bool)
    masks[0, :, 8:], masks[1, :, :, 9:] = False, False
    flat = masks.reshape(2, 1, 99)
    matrix = jax.vmap(functools.partial(dual_softmax, temperature=0.2, block=40))(f0, f1, *flat)
    coarse = CoarseOutput(f0, f1, *flat, matrix, (), ())
    paper = dataclasses.replace(micro_config.matching, reach=0)
    config = dataclasses.replace(micro_config, matching=paper)
    find = functools.partial(coarse_matches, coarse, *masks, config)
    sim = f0[0].astype(float) @ f1[0].T / (8 * 0.2)
    sim[~flat[0, 0]], sim[:, ~flat[1, 0]] = -np.inf, -np.inf
    weight = np.exp(sim)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_prob = np.log(np.nan_to_num(weight / weight.sum(0) * weight / weight.sum(1)[:, None]))
    inner = np.zeros((2, 9, 11), bool)
    inner[0, 2:6, 2:9], inner[1, 2:7, 2:7] = True, True
    expected = plain_coarse_matches(log_prob, *inner.reshape(2, 99), threshold)
    found = jax.tree.map(lambda x: np.asarray(x)[0], find(99, threshold=threshold))
    rows = zip(found.cell0, found.cell1, found.confidence, strict=True)
    actual = {i: (j, p) for i, j, p in rows if i >= 0}
    assert {i: j for i, (j, _) in actual.items()} == {i: j for i, (j, _) in expected.items()}
    assert len(expected) > 3
    for i, (_, p) in actual.items():
        np.testing.assert_allclose(p, expected[i][1], rtol=1e-3)
    assert (np.diff(found.confidence) <= 0).all()
    assert (found.valid == (found.cell0 >= 0)).all()
    best = jax.tree.map(lambda x: np.asarray(x)[0], find(3, threshold=threshold))
    np.testing.assert_array_equal(best.cell0, found.cell0[:3])


@pytest.mark.parametrize(
    ("shape", "mask", "message"),
    [
        ((1, 96, 96, 3), (1, 96, 96), "grey"),
        ((96, 96, 1), (96, 96), "b h w 1"),
        ((1, 90, 96, 1), (1, 90, 96), "multiples of 32.*Pad and mask"),
        ((1, 96, 96, 1), (1, 96, 64), "one value a pixel"),
    ],
)
def test_images_of_wrong_shape_are_refused(micro_config, micro_variables, shape, mask, message):
    model = ASTR(micro_config)
    with pytest.raises(ValueError, match=message):
        model.apply(micro_variables, np.zeros(shape), np.ones(mask, bool), method="encode")


def shapes_of(config, size=(64, 96)):
    """What the three stages return, without running them."""
    model = ASTR(config)
    image = jax.ShapeDtypeStruct((1, *size, 1), jnp.float32)
    mask = jax.ShapeDtypeStruct((1, *size), bool)
    variables = jax.eval_shape(lambda: init_variables(config, jax.random.key(0)))

    def stages(variables, image, mask):
        features = model.apply(variables, image, mask, method="encode")
        coarse = model.apply(variables, features, features, method="coarse")
        matches = coarse_matches(coarse, features.mask8, features.mask8, config, 16)
        points, ratio = jnp.ones((1, 16, 2)), jnp.ones((1, 16))
        given = features, features, *coarse.maps, points, points, ratio
        fine = model.apply(variables, *given, method="fine")
        return features, coarse, matches, fine

    return variables, *jax.eval_shape(stages, variables, image, mask)


def test_the_default_is_the_papers_model():
    variables, features, coarse, _, _ = shapes_of(ModelConfig())
    assert features.coarse32.shape == (1, 2, 3, 256)
    assert features.coarse8.shape == (1, 8, 12, 256)
    assert features.fine.shape == (1, 32, 48, 128)
    assert len(coarse.spots) == 4
    assert coarse.spots[0][0].centres.shape == (1, 96, 5)
    assert coarse.spots[0][0].window == 5
    params = variables["params"]
    assert params["backbone"]["stem"]["conv"]["kernel"].shape == (7, 7, 1, 128)
    widths = [
        params["backbone"][f"stage{i}_block2"]["conv2"]["conv"]["kernel"].shape for i in range(1, 6)
    ]
    assert widths == [(3, 3, c, c) for c in (128, 196, 256, 256, 256)]
    assert params["aggregation"]["spot8_0"]["mix"]["kernel"].shape == (3, 3, 512, 256)
    assert params["fine_matching"]["self"]["mlp1"]["kernel"].shape == (256, 256)


def test_matching_stays_float32_when_activations_are_bfloat16(micro_config):
    config = dataclasses.replace(micro_config, dtype="bfloat16")
    variables, features, coarse, matches, fine = shapes_of(config)
    assert features.coarse8.dtype == features.fine.dtype == coarse.features0.dtype == jnp.bfloat16
    exact = (variables, coarse.matrix, coarse.spot_matrices, matches, fine)
    kinds = {x.dtype for x in jax.tree.leaves(exact) if jnp.issubdtype(x.dtype, jnp.floating)}
    assert kinds == {jnp.dtype("float32")}
