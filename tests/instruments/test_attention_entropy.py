"""The entropy of a head is that of its weights, on the keys of the spots alone."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.instruments.attention_entropy import coarse_with_entropy
from astr_jax.layers.attention import CrossAttention
from astr_jax.model.astr import ASTR


@pytest.fixture(scope="module")
def features(micro_config, micro_variables, make_images):
    mask = jnp.ones((2, 64, 96), bool).at[1, :, 64:].set(False)  # of the second pair, a part
    encode = jax.jit(functools.partial(ASTR(micro_config).apply, method="encode"))
    return [encode(micro_variables, make_images(i, (2, 64, 96)), mask) for i in (0, 1)]


entropies = jax.jit(coarse_with_entropy, static_argnums=0)


@functools.partial(jax.jit, static_argnums=0)
def recorded(config, variables, features):
    """The coarse features of image 0, the spots of image 0, and what each spot layer is given."""
    calls = {}

    def record(call, args, kwargs, context):
        if isinstance(context.module, CrossAttention):
            calls.setdefault(context.module.name, args[:2])
        return call(*args, **kwargs)

    with nn.intercept_methods(record):
        coarse = ASTR(config).apply(variables, *features, method="coarse")
    return coarse.features0, [spots[0] for spots in coarse.spots], calls


def plain_entropies(config, variables, features):
    """From the lists of the spots, one query after the other, in float64."""
    _, looks, calls = recorded(config, variables, features)
    d, result = config.aggregation.head_dim, []
    for number, spots in enumerate(looks):
        x, source = calls[f"spot8_{number}"]
        layer = variables["params"]["aggregation"][f"spot8_{number}"]
        q, k = (
            np.asarray(y, np.float64).reshape(2, -1, y.shape[-1]) @ layer[name]["kernel"]
            for y, name in ((x, "q"), (source, "k"))
        )
        for b in range(2):
            lists = jax.tree.map(lambda s, b=b: s[b], spots).lists().cells
            shares = []
            for query, cells in enumerate(np.asarray(lists)):
                keys = cells[cells >= 0]
                if len(keys) > 1:
                    logits = (q[b, query] * k[b, keys]).reshape(len(keys), -1, d).sum(-1) * d**-0.5
                    weight = np.exp(logits - logits.max(0))
                    weight /= weight.sum(0)
                    shares.append(-(weight * np.log(weight)).sum(0) / np.log(len(keys)))
            result.append(np.mean(shares, axis=0))
    return np.stack(result).reshape(len(looks), 2, -1).swapaxes(0, 1)


def test_it_agrees_with_the_plain_definition(micro_config, micro_variables, features):
    coarse, actual = entropies(micro_config, micro_variables, *features)
    expected = plain_entropies(micro_config, micro_variables, features)
    assert actual.shape == (2, 2, 2)
    assert 0.5 < expected.min() < expected.max() < 1 - 1e-5
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    features0, _, _ = recorded(micro_config, micro_variables, features)
    np.testing.assert_allclose(coarse.features0, features0, atol=1e-5)


def test_queries_without_a_preference_look_evenly(micro_config, micro_variables, features):
    def blunt(path, x):
        names = [key.key for key in path]
        return np.zeros_like(x) if "q" in names and "spot8_1" in names else x

    variables = jax.tree_util.tree_map_with_path(blunt, micro_variables)
    _, entropy = entropies(micro_config, variables, *features)
    np.testing.assert_allclose(entropy[:, 1], 1.0, atol=1e-5)
    assert (entropy[:, 0] < 1 - 1e-5).all()


def test_an_image_without_a_usable_pixel_has_none(micro_config, micro_variables, features):
    blind = features[1].replace(mask8=jnp.zeros_like(features[1].mask8))
    _, entropy = entropies(micro_config, micro_variables, features[0], blind)
    assert np.isnan(entropy).all()
