"""Attention maps show what the model computes: compared with its own queries, keys and spots."""

import jax
import numpy as np
import pytest

from astr_jax.instruments.attention_maps import attention_maps
from astr_jax.model.astr import ASTR

QUERY = (37.0, 18.0)  # nearest coarse cell (5, 2), nearest 1/32 cell (1, 1)


@pytest.fixture(scope="module")
def model(micro_config, micro_variables, make_images):
    """The model's parts, and the features of a pair of 96 x 64 images, the second masked."""
    images = make_images(3, (2, 64, 96))
    mask = np.ones((2, 64, 96), bool)
    mask[1, :, 72:] = False
    both = ASTR(micro_config).apply(micro_variables, images, mask, method="encode")
    features = [jax.tree.map(lambda x, k=k: x[k : k + 1], both) for k in range(2)]
    coarse, kept = ASTR(micro_config).apply(
        micro_variables,
        *features,
        method="coarse",
        capture_intermediates=lambda module, _: module.name in ("q", "k"),
        mutable=["intermediates"],
    )
    return micro_config, micro_variables, features, coarse, kept["intermediates"]["aggregation"]


def expected(layers, name, cell, keys, head_dim):
    """Plain softmax over the listed keys, head by head; the first call is image 0 to image 1."""
    q, k = (np.asarray(layers[name][part]["__call__"][0])[0] for part in ("q", "k"))
    q, k = q.reshape(-1, q.shape[-1])[cell], k.reshape(-1, k.shape[-1])
    weights = np.zeros(len(k))
    for head in range(len(q) // head_dim):
        part = slice(head * head_dim, (head + 1) * head_dim)
        score = np.exp(k[keys, part] @ q[part] / np.sqrt(head_dim))
        weights[keys] += score / score.sum() / (len(q) // head_dim)
    return weights


@pytest.mark.parametrize("block", [0, 1])
def test_maps_are_the_softmax_of_the_layers_queries_and_keys(model, block):
    config, variables, features, coarse, layers = model
    maps = attention_maps(config, variables, *features, np.array(QUERY), block=block)
    np.testing.assert_array_equal(maps.query, [40, 16])
    cell, cell32, size = 2 * 12 + 5, 1 * 3 + 1, config.aggregation.head_dim
    spots = jax.tree.map(lambda x: x[0], coarse.spots[block][0])
    listed = np.asarray(spots.lists().cells[cell])
    area = np.zeros(8 * 12, bool)
    area[listed[listed >= 0]] = True
    np.testing.assert_array_equal(np.ravel(maps.area), area)
    assert 0 < area.sum() < np.asarray(features[1].mask8).sum()
    seen8, seen32 = (np.ravel(m) for m in (features[1].mask8, features[1].mask32))
    for name, found, at, keys in (
        (f"cross32_{block}", maps.vanilla, cell32, np.flatnonzero(seen32)),
        (f"spot8_{block}", maps.everywhere, cell, np.flatnonzero(seen8)),
        (f"spot8_{block}", maps.spot, cell, np.flatnonzero(area)),
    ):
        np.testing.assert_allclose(
            np.ravel(found), expected(layers, name, at, keys, size), atol=1e-5, err_msg=name
        )
        assert found.sum() == pytest.approx(1, abs=1e-5)


def test_the_last_block_is_shown_unless_another_is_named(model):
    config, variables, features, _, _ = model
    last = attention_maps(config, variables, *features, np.array(QUERY))
    named = attention_maps(config, variables, *features, np.array(QUERY), block=1)
    jax.tree.map(np.testing.assert_array_equal, last, named)


def test_a_masked_image_gets_no_attention(model):
    config, variables, features, _, _ = model
    nothing = jax.tree.map(np.zeros_like, features[1])
    maps = attention_maps(config, variables, features[0], nothing, np.array(QUERY))
    for name in ("vanilla", "everywhere", "spot"):
        np.testing.assert_array_equal(getattr(maps, name), 0, err_msg=name)
    assert not np.any(maps.area)
