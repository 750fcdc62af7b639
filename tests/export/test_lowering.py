"""A traced JAX program as an ONNX graph: ONNX Runtime computes what JAX does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")

from astr_jax.export.lowering.model import to_onnx  # noqa: E402


def both(function, weights=(), half=False, **given):
    """What ONNX Runtime and what JAX make of a function of named arrays."""
    shapes = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in given.items()}
    model = to_onnx(lambda w, **x: {"out": function(w, **x)}, weights, shapes, half=half)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    used = {x.name: given[x.name] for x in session.get_inputs()}
    return session.run(["out"], used)[0], np.asarray(
        function(weights, **jax.tree.map(jnp.asarray, given))
    )


PROGRAMS = {
    "a scan that carries": lambda w, x, i: jax.lax.scan(
        lambda c, row: (c + row.sum(), c * row), jnp.float32(1), x
    )[1],
    "a loop of fixed length": lambda w, x, i: jax.lax.fori_loop(0, 3, lambda n, y: y * 2 + n, x),
    "a loop of unknown length": lambda w, x, i: jax.lax.while_loop(
        lambda y: y.sum() < 1e3, lambda y: y * 2 + 1, x
    ),
    "a branch": lambda w, x, i: jax.lax.cond(x[0, 0] > 0, lambda y: y + 1, lambda y: -y, x),
    "indices beyond the end": lambda w, x, i: x.at[i, 0].add(1.0, mode="drop"),
    "a column put": lambda w, x, i: x.at[:, -1].set(x[:, 0]).at[2].add(x[0]),
    "the largest of each": lambda w, x, i: jax.ops.segment_max(x[:, 0], i, 4),
    "a read that fills": lambda w, x, i: jnp.take(x, i, axis=0, mode="fill", fill_value=7.0),
    "a read that clips": lambda w, x, i: jnp.take(x, i, axis=1, mode="clip"),
    "along an axis": lambda w, x, i: jnp.take_along_axis(x, (i[:, None] + 2) % 5, axis=1),
    "the first of equals": lambda w, x, i: jax.lax.top_k(jnp.round(x * x), 3)[1],
    "a moving slice": lambda w, x, i: jax.lax.dynamic_slice(x, (i[3], 1), (3, 2)),
    "an update": lambda w, x, i: jax.lax.dynamic_update_slice(x, x[:2] + 9, (i[3], 0)),
    "whole numbers": lambda w, x, i: (i // 3) * 10 + i % 3 - jnp.sign(i),
    "a choice of truths": lambda w, x, i: jnp.where(x > 0, x > 1, x < -1),
    "a choice by a mask": lambda w, x, i: jnp.where((i > 0)[:, None], x, 0.0),
    "products of pairs": lambda w, x, i: jnp.einsum("ab,ac,ad->acd", x, x, x[:, :2]),
    "a running sum": lambda w, x, i: x.cumsum(axis=0) + jnp.linspace(0, 1, 5)[None],
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_onnx_runtime_computes_what_jax_does(rng, name):
    x = rng.normal(size=(6, 5)).astype(np.float32)
    i = np.array([0, -1, 3, 5, 2, 9], np.int32)
    if name in ("along an axis", "a read that clips", "the largest of each"):
        i = np.abs(i)
    actual, expected = both(PROGRAMS[name], x=x, i=i)
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6)


def test_convolutions_keep_their_channels_last(rng):
    x = rng.normal(size=(1, 9, 7, 3)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 3, 4)).astype(np.float32)

    def convolved(w, x):
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, w["kernel"], (2, 1), [(1, 0), (1, 2)], dimension_numbers=numbers
        )

    actual, expected = both(convolved, {"kernel": kernel}, x=x)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_weights_stored_as_float16_are_rounded_and_vectors_are_not(rng):
    weights = {
        "kernel": rng.normal(size=(5, 4)).astype(np.float32),
        "bias": rng.normal(size=4).astype(np.float32),
    }
    x = np.ones((6, 5), np.float32)
    actual, expected = both(lambda w, x: x @ w["kernel"] + w["bias"][None], weights, half=True, x=x)
    rounded = weights["kernel"].astype(np.float16).astype(np.float32)
    np.testing.assert_allclose(actual, x @ rounded + weights["bias"][None], rtol=1e-5, atol=1e-6)
    assert np.abs(actual - expected).max() > 1e-5


def test_a_primitive_without_a_rule_is_named(rng):
    x = np.ones((6, 5), np.float32)
    with pytest.raises(NotImplementedError, match="'erf_inv' has no ONNX"):
        both(lambda w, x: jax.lax.erf_inv(x), x=x)


def test_what_nobody_reads_needs_no_rule():
    def drawn(w, x):
        jax.random.normal(jax.random.key(0), x.shape)
        return x + 1

    actual, expected = both(drawn, x=np.ones((2, 2), np.float32))
    np.testing.assert_array_equal(actual, expected)
