import dataclasses
import functools

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.config import AggregationConfig, BackboneConfig, FineConfig, ModelConfig
from astr_jax.layers.backbone import Backbone, MaskedBatchNorm, level_mask, upsample2
from astr_jax.params import Params, fold_params

CONFIG = BackboneConfig(widths=(4, 6, 8, 8, 8), blocks=(1, 1, 1, 1, 1), fine_stride=2)
STRIDES = (32, 8, 2)  # of the maps that a backbone returns, in this order


@functools.partial(jax.jit, static_argnames=("config", "train"))
def run(variables, images, mask, *, config=CONFIG, train=False):
    backbone = Backbone(config)
    return backbone.apply(variables, images, mask, train=train, mutable=["batch_stats"])[0]


@pytest.fixture(scope="module")
def fresh():
    """Variables as initialised: the norms are the identity but for epsilon."""
    image = jnp.zeros((1, 64, 64, 1))
    init = jax.jit(Backbone(CONFIG).init)
    return jax.tree.map(np.asarray, init(jax.random.key(0), image, jnp.ones((1, 64, 64), bool)))


@pytest.fixture(scope="module")
def rough(fresh):
    """The same kernels with norms far from the identity."""
    rng = np.random.default_rng(3)

    def moved(path, x):
        ranges = {"scale": (0.6, 1.5), "var": (0.4, 2.0), "bias": (-0.5, 0.5), "mean": (-0.5, 0.5)}
        leaf = path[-1].key
        return rng.uniform(*ranges[leaf], x.shape).astype("f4") if leaf in ranges else x

    return jax.tree_util.tree_map_with_path(moved, fresh)


def valid_part(mask_side, canvas):
    mask = np.zeros((1, *canvas), bool)
    mask[:, : mask_side[0], : mask_side[1]] = True
    return mask


def test_an_impulse_at_a_coarse_centre_gives_maps_symmetric_about_it(fresh):
    def symmetric(path, x):
        if path[-1].key == "kernel":
            x = np.abs(x) + 0.01
            x = (x + x[::-1]) / 2
            x = (x + x[:, ::-1]) / 2
        return x

    variables = jax.tree_util.tree_map_with_path(symmetric, fresh)
    # 65 x 65 valid pixels: at every stride an odd number of cells about pixel (32, 32).
    image = np.zeros((1, 96, 96, 1), np.float32)
    image[0, 32, 32] = 1
    maps = run(variables, image, valid_part((65, 65), (96, 96)))
    for x, stride in zip(maps, STRIDES, strict=True):
        side = 64 // stride + 1
        inside = np.asarray(x)[0, :side, :side]
        assert inside.min() > 0
        np.testing.assert_allclose(inside, inside[::-1], rtol=1e-4)
        np.testing.assert_allclose(inside, inside[:, ::-1], rtol=1e-4)
        peak = np.unravel_index(inside.sum(axis=-1).argmax(), inside.shape[:2])
        assert peak == (32 // stride, 32 // stride)


def test_shifting_the_input_by_32_pixels_shifts_the_features_by_whole_cells(rough):
    scene = np.random.default_rng(0).random((1, 544, 544, 1)).astype(np.float32)
    mask = np.ones((1, 512, 512), bool)
    here, there = (run(rough, scene[:, k : k + 512, k : k + 512], mask) for k in (0, 32))
    for x, moved, stride in zip(here, there, STRIDES, strict=True):
        reach, step = 192 // stride, 32 // stride  # beyond 192 px no border is felt
        inner = slice(reach, 512 // stride - reach - step)
        after = slice(reach + step, 512 // stride - reach)
        expected = np.asarray(x)[:, after, after]
        np.testing.assert_allclose(np.asarray(moved)[:, inner, inner], expected, atol=2e-5)
        assert expected.std() > 0.01


@pytest.mark.parametrize("train", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("size", [(96, 96), (70, 91)])
def test_padding_changes_no_valid_cell(rough, size, train):
    image = np.random.default_rng(1).random((1, *size, 1)).astype(np.float32)
    results = []
    for canvas in ((96, 96), (160, 128)):
        whole = np.full((1, *canvas, 1), 9.0, np.float32)  # nothing may look at the padding
        whole[:, : size[0], : size[1]] = image
        results.append(run(rough, whole, valid_part(size, canvas), train=train))
    for own, padded, stride in zip(*results, STRIDES, strict=True):
        rows, columns = (-(-side // stride) for side in size)
        expected = np.asarray(own)[:, :rows, :columns]
        np.testing.assert_allclose(np.asarray(padded)[:, :rows, :columns], expected, atol=2e-5)
        outside = np.array(padded)
        outside[:, :rows, :columns] = 0
        assert (outside == 0).all()


def test_folding_the_batch_norm_changes_nothing_within_a_mask(rough):
    config = ModelConfig(
        backbone=CONFIG, aggregation=AggregationConfig(head_dim=8), fine=FineConfig(head_dim=4)
    )
    folded = fold_params(Params(rough, config))
    names = flax.traverse_util.flatten_dict(folded.variables["params"], sep="/")
    assert not any("norm" in name for name in names)
    image = np.random.default_rng(2).random((1, 96, 96, 1)).astype(np.float32)
    mask = valid_part((75, 60), (96, 96))
    expected = run(rough, image, mask)
    actual = run(folded.variables, image, mask, config=dataclasses.replace(CONFIG, folded=True))
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5 * np.abs(e).max())


def test_a_cell_is_valid_where_its_centre_is(rng):
    mask = rng.random((2, 64, 96)) < 0.5
    for stride in (2, 8, 32):
        cells = level_mask(jnp.asarray(mask), stride)
        for b, y, x in np.ndindex(*cells.shape):
            assert cells[b, y, x] == mask[b, stride * y, stride * x]


def plain_upsample(x, mask, out_mask):
    """out[2i] = in[i]; between two cells the mean of the valid ones; one axis after the other."""
    out = np.zeros((2 * x.shape[0], 2 * x.shape[1], x.shape[2]))
    for y, u in np.ndindex(*out_mask.shape):
        rows = {y // 2, (y + 1) // 2}
        columns = {u // 2, (u + 1) // 2}
        around = [
            x[r, c]
            for r in rows
            for c in columns
            if r < x.shape[0] and c < x.shape[1] and mask[r, c]
        ]
        if out_mask[y, u] and around:
            out[y, u] = np.mean(around, axis=0)
    return out


def test_upsampling_agrees_with_a_plain_loop(rng):
    x = rng.normal(size=(1, 3, 4, 2)).astype(np.float32)
    for kind in ("all", "rectangle", "random"):
        out_mask = np.ones((1, 6, 8), bool)
        if kind == "rectangle":
            out_mask[:, 5:], out_mask[:, :, 6:] = False, False
        if kind == "random":
            out_mask = rng.random((1, 6, 8)) < 0.6
        mask = level_mask(out_mask, 2)
        actual = upsample2(jnp.asarray(x), jnp.asarray(mask), jnp.asarray(out_mask))
        np.testing.assert_allclose(actual[0], plain_upsample(x[0], mask[0], out_mask[0]), atol=1e-6)


def test_the_last_odd_sample_repeats_the_last_valid_one():
    x = jnp.array([1.0, 3.0, 5.0, 7.0]).reshape(1, 1, 4, 1)
    mask, out_mask = jnp.array([[[1, 1, 1, 0]]], bool), jnp.ones((1, 2, 8), bool)
    row = upsample2(x, mask, out_mask.at[:, :, 6:].set(False))[0, 0, :, 0]
    np.testing.assert_allclose(row, [1, 2, 3, 4, 5, 5, 0, 0])
    row = upsample2(x, jnp.ones((1, 1, 4), bool), out_mask)[0, 0, :, 0]
    np.testing.assert_allclose(row, [1, 2, 3, 4, 5, 6, 7, 7])


@functools.partial(jax.jit, static_argnames="train")
def normalise(variables, x, mask, *, train=True):
    return MaskedBatchNorm(train).apply(variables, x, mask, mutable=["batch_stats"])


@pytest.fixture
def norm_variables(rng):
    stats = {"mean": rng.normal(size=5), "var": rng.uniform(0.5, 2, 5)}
    params = {"scale": rng.uniform(0.5, 2, 5), "bias": rng.normal(size=5)}
    return jax.tree.map(np.float32, {"params": params, "batch_stats": stats})


def test_batch_norm_looks_at_valid_cells_only(rng, norm_variables):
    x = rng.normal(2, 3, (2, 4, 6, 5)).astype(np.float32)
    mask = rng.random((2, 4, 6)) < 0.6
    out, updates = normalise(norm_variables, np.where(mask[..., None], x, 1e3), mask)
    valid = x[mask].astype(float)
    mean, var = valid.mean(axis=0), valid.var(axis=0)
    scale, bias = norm_variables["params"]["scale"], norm_variables["params"]["bias"]
    expected = (valid - mean) / np.sqrt(var + 1e-5) * scale + bias
    np.testing.assert_allclose(out[mask], expected, atol=1e-4)
    for name, found in (("mean", mean), ("var", var)):
        old = norm_variables["batch_stats"][name]
        moved = updates["batch_stats"][name]
        np.testing.assert_allclose(moved, 0.99 * old + 0.01 * found, rtol=1e-4)


def test_batch_norm_without_a_valid_cell_uses_the_running_statistics(rng, norm_variables):
    x, mask = rng.normal(size=(2, 4, 6, 5)).astype(np.float32), np.zeros((2, 4, 6), bool)
    out, updates = normalise(norm_variables, x, mask)
    expected, _ = normalise(norm_variables, x, mask, train=False)
    np.testing.assert_allclose(out, expected, atol=1e-6)
    for a, e in zip(*map(jax.tree.leaves, (updates, norm_variables["batch_stats"])), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-6)
