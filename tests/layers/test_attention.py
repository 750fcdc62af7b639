import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.layers.attention import (
    CrossAttention,
    linear_attention,
    pooled,
    sparse_attention,
    vanilla_attention,
    with_everybody,
)
from pallas_kernels.sparse_attention import Spots

B, H, D = 2, 2, 4  # pairs, heads, channels per head


def spots_of(cells, keys):
    """Spots whose windows are single cells: lists of keys that lie in a row."""
    b, n, _ = cells.shape
    return Spots(
        *(jnp.asarray(x) for x in (cells, np.ones((b, n), bool), np.ones((b, keys), bool))),
        grid0=(1, n),
        grid1=(1, keys),
        window=1,
    )


def inputs(rng, queries=7, keys=9, channels=D):
    sizes = ((B, n, H, channels) for n in (queries, keys, keys))
    return tuple(rng.normal(size=size).astype(np.float32) for size in sizes)


def reference(q, k, v, similarity, seen):
    """out = sum of weights times values over the seen keys, query by query, head by head."""
    out = np.zeros(q.shape)
    for b, i, h in np.ndindex(*q.shape[:3]):
        keys = np.flatnonzero(seen[b, i])
        if len(keys):
            weight = np.array([similarity(q[b, i, h], k[b, j, h]) for j in keys])
            out[b, i, h] = weight / weight.sum() @ v[b, keys, h]
    return out


def softmax_weight(q, k):
    return np.exp(q.astype(float) @ k / np.sqrt(len(q)))


def linear_weight(q, k):
    def feature(x):
        return np.where(x > 0, x, np.expm1(x)) + 1

    return feature(q.astype(float)) @ feature(k)


@pytest.mark.parametrize(
    ("attend", "weight"),
    [(vanilla_attention, softmax_weight), (linear_attention, linear_weight)],
    ids=["vanilla", "linear"],
)
def test_attention_agrees_with_a_plain_loop_over_the_valid_keys(rng, attend, weight):
    q, k, v = inputs(rng)
    mask = rng.random((B, 9)) < 0.6
    seen = np.broadcast_to(mask[:, None], (B, 7, 9))
    np.testing.assert_allclose(
        jax.jit(attend)(q, k, v, mask), reference(q, k, v, weight, seen), atol=2e-5
    )


def test_sparse_attention_looks_only_at_its_spot(rng):
    q, k, v = inputs(rng)
    cells = np.stack([rng.permuted(np.arange(9)) for _ in range(B * 7)]).reshape(B, 7, 9)[..., :5]
    cells = np.where(rng.random(cells.shape) < 0.4, -1, cells).astype(np.int32)
    cells[0, 3] = -1
    seen = (cells[..., None] == np.arange(9)).any(axis=2)
    attend = jax.jit(functools.partial(sparse_attention, implementation=None))
    expected = reference(q, k, v, softmax_weight, seen)
    np.testing.assert_allclose(attend(q, k, v, spots_of(cells, 9)), expected, atol=2e-5)
    assert (expected[0, 3] == 0).all()


def test_means_of_squares_are_seen_by_every_query(rng):
    maps, mask = rng.normal(size=(B, 3, 3, H * D)).astype(np.float32), rng.random((B, 3, 3)) < 0.6
    mask[0, :2, :2] = False  # a square without a valid cell
    means, some = jax.jit(functools.partial(pooled, side=2))(maps, mask)
    q, k, v = inputs(rng)
    expected = np.zeros((B, 4, H * D))
    for b, y, x in np.ndindex(B, 2, 2):
        square = maps[b, 2 * y :, 2 * x :][:2, :2][mask[b, 2 * y :, 2 * x :][:2, :2]]
        expected[b, 2 * y + x] = square.mean(axis=0) if len(square) else 0
        assert some[b, 2 * y + x] == (len(square) > 0)
    np.testing.assert_allclose(means, expected, atol=1e-6)

    cells = np.tile(np.array([2, -1, 5], np.int32), (B, 7, 1))
    more = (np.asarray(means).reshape(B, 4, *k.shape[2:]) for _ in range(2))
    k, v = (np.concatenate([x, m], axis=1) for x, m in zip((k, v), more, strict=True))
    seen = np.zeros((B, 7, 13), bool)
    seen[:, :, [2, 5]] = True
    seen[:, :, 9:] = np.asarray(some)[:, None]

    @jax.jit
    def attend(q, k, v, looks, some):
        return sparse_attention(q, k, v, with_everybody(looks, some), None)

    found = attend(q, k, v, spots_of(cells, 9), some)
    np.testing.assert_allclose(found, reference(q, k, v, softmax_weight, seen), atol=2e-5)


@pytest.mark.parametrize("attend", [vanilla_attention, linear_attention])
def test_without_a_valid_key_values_and_gradients_are_zero(rng, attend):
    q, k, v = inputs(rng)
    mask = np.ones((B, 9), bool)
    mask[1] = False

    def second(q, k, v):
        return attend(q, k, v, mask)[1].sum()

    value, gradient = jax.jit(jax.value_and_grad(second, argnums=(0, 1, 2)))(q, k, v)
    assert value == 0
    assert all((g == 0).all() for g in gradient)


@pytest.mark.parametrize("attend", [vanilla_attention, linear_attention])
def test_very_large_features_stay_finite(rng, attend):
    q, k, v = (1e6 * x for x in inputs(rng, channels=8))

    def total(q, k, v):
        return attend(q, k, v, np.ones((B, 9), bool)).sum()

    found = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))(q, k, v)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))


@pytest.mark.parametrize(
    "implementation", ["segment_sum", "gather", "dense", "pallas_lists", "pallas_tiles"]
)
def test_huge_scores_of_listed_keys_stay_finite(rng, implementation):
    # Scores of 1e12, rounded by some 1e5; 1 / sqrt(8) is no power of two and rounds once more.
    q, k, v = (1e6 * x for x in inputs(rng, 60, 90, channels=8))
    yes = np.ones((B, 150), bool)
    middle = np.full((B, 60, 1), 45, np.int32)  # whose window covers the whole grid
    spots = Spots(middle, yes[:, :60], yes[:, :90], grid0=(6, 10), grid1=(9, 10), window=11)

    def total(q, k, v):
        return sparse_attention(q, k, v, spots, implementation).sum()

    found = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))(q, k, v)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))


HEIGHT, WIDTH, C = 3, 4, 8


def layer_norm(x, weights):
    centred = x - x.mean(axis=-1, keepdims=True)
    x = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)
    return x * weights["scale"] + weights["bias"]


def plain_layer(params, x, source, seen, mask):
    """Message, merge, norm; 3x3 convolution of both; norm; residual. One image pair at a time."""

    def heads(name, y):
        return (y @ params[name]["kernel"]).reshape(1, -1, C // D, D)

    message = reference(
        heads("q", x), heads("k", source), heads("v", source), softmax_weight, seen[None]
    )
    message = message.reshape(*x.shape) @ params["merge"]["kernel"]
    both = np.concatenate([x, layer_norm(message, params["message_norm"])], axis=-1)
    framed = np.pad(both * mask[..., None], ((1, 1), (1, 1), (0, 0)))
    y = np.zeros(x.shape)
    for dy, dx in np.ndindex(3, 3):
        y += framed[dy : dy + HEIGHT, dx : dx + WIDTH] @ params["mix"]["kernel"][dy, dx]
    return (x + layer_norm(y, params["norm"])) * mask[..., None]


@pytest.mark.parametrize("kind", ["vanilla", "spot"])
def test_the_layer_is_message_norm_convolution_norm_and_residual(rng, kind):
    x, source = (rng.normal(size=(1, HEIGHT, WIDTH, C)).astype(np.float32) for _ in range(2))
    mask = np.ones((1, HEIGHT, WIDTH), bool)
    mask[:, 2:] = False
    source_mask = np.ones((1, HEIGHT, WIDTH), bool)
    source_mask[:, :, 3] = False
    cells = rng.integers(0, 12, (1, 12, 1)).astype(np.int32)
    cells[:, 5] = -1
    layer = CrossAttention(kind, head_dim=D)
    given = (x, source, mask, source_mask, spots_of(cells, 12))
    params = jax.jit(layer.init)(jax.random.key(1), *given)["params"]
    params = jax.tree.map(lambda p: np.asarray(p) + 0.1 * rng.normal(size=p.shape), params)
    if kind == "spot":
        seen = (cells[0] == np.arange(12)[None]) & (cells[0] >= 0)
    else:
        seen = np.broadcast_to(source_mask.reshape(-1), (12, 12))
    params = jax.tree.map(np.float32, params)
    actual = jax.jit(layer.apply)({"params": params}, *given)
    expected = plain_layer(params, x[0].astype(float), source[0].astype(float), seen, mask[0])
    np.testing.assert_allclose(actual[0], expected, atol=5e-5)


@pytest.mark.parametrize("kind", ["vanilla", "linear", "spot"])
def test_padded_cells_neither_attend_nor_are_attended_to(rng, kind):
    x, source = (rng.normal(size=(1, HEIGHT, WIDTH, C)).astype(np.float32) for _ in range(2))
    mask = rng.random((1, HEIGHT, WIDTH)) < 0.7
    cells = np.where(mask.reshape(1, 1, -1), np.arange(12), -1)  # spots keep to the mask
    spots = spots_of(np.broadcast_to(cells, (1, 12, 12)).astype(np.int32), 12)
    layer = CrossAttention(kind, head_dim=D)
    variables = jax.jit(layer.init)(jax.random.key(1), x, source, mask, mask, spots)
    apply = jax.jit(layer.apply)
    expected = apply(variables, x, source, mask, mask, spots)
    other = np.where(mask[..., None], source, 7.0), np.where(mask[..., None], x, -7.0)
    actual = apply(variables, other[1], other[0], mask, mask, spots)
    np.testing.assert_allclose(actual, expected, atol=1e-6)
    assert (np.asarray(expected)[~mask] == 0).all()
    assert jnp.isfinite(expected).all()
