"""Bad input: one line at the door that names the argument; inside jit by checkify."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify

from pallas_kernels.sparse_attention import (
    check_cells,
    check_pairs,
    sparse_attention,
    sparse_attention_pairs,
    sparse_dual_softmax,
    spot_attention,
    spot_dual_softmax,
)


@contextlib.contextmanager
def raises_one_line(message, error=ValueError):
    with pytest.raises(error, match=message) as raised:
        yield
    assert "\n" not in str(raised.value)


Q, K = jnp.zeros((4, 2, 8)), jnp.zeros((5, 2, 8))
CELLS = np.zeros((4, 3), np.int32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": Q[None]}, r"q must be \[n heads channels\], got \(1, 4, 2, 8\). Use jax.vmap"),
        ({"k": K[0]}, "k must be"),
        ({"q": Q.astype(int)}, "q must be floating"),
        ({"v": K[:3]}, "k and v must have one shape"),
        ({"q": Q[:, :1]}, "q and k must agree in heads and channels"),
        ({"q": Q[..., :0], "k": K[..., :0], "v": K[..., :0]}, "at least one key, head and channel"),
        ({"k": K.astype(jnp.bfloat16)}, "one dtype, got float32, bfloat16, float32"),
        ({"cells": CELLS[0]}, r"cells must be \[queries slots\]"),
        ({"cells": CELLS.astype(np.float32)}, "cells must hold signed integers"),
        ({"cells": CELLS[:3]}, "cells must have one row per query"),
        ({"cells": np.array([[0, 1, 5]] * 4)}, r"cells must lie in \[0, 5\).*got 5 at \[0, 2\]"),
        ({"cells": np.array([[0, -2, 1]] * 4)}, r"got -2 at \[0, 1\]"),
        ({"cells": np.array([[2, 1, 2]] * 4)}, "row 0 has key 2 twice"),
        (
            {"implementation": "cuda"},
            "one of segment_sum, gather, dense, pallas_lists, .*got 'cuda'",
        ),
    ],
)
def test_bad_input_is_named_at_the_door(change, message):
    arguments = {"q": Q, "k": K, "v": K, "cells": CELLS, "implementation": None} | change
    with raises_one_line(message):
        sparse_attention(**arguments)


@pytest.mark.parametrize(
    ("m_q", "m_k", "message"),
    [
        ([0, 1], [0], "one length"),
        ([[0]], [[0]], r"m_q must be \[pairs\]"),
        ([0, 4], [0, 0], r"m_q must lie in \[0, 4\), the queries"),
        ([0, 3], [0, 5], r"m_k must lie in \[0, 5\), the keys"),
        ([0, -1], [0, 2], r"pair 1 is \(-1, 2\)"),
        ([3, 0, 3], [4, 4, 4], "query 3 with key 4 stands there twice"),
    ],
)
def test_bad_pairs_are_named_at_the_door(m_q, m_k, message):
    with raises_one_line(message):
        sparse_attention_pairs(Q, K, K, np.array(m_q), np.array(m_k))


def test_good_lists_pass_the_checks():
    check_cells(np.array([[-1, 4, 0, -1], [-1, -1, -1, -1]]), 5)
    check_pairs(np.array([3, -1, 0, 3, -1]), np.array([4, -1, 4, 0, -1]), 4, 5)


F0, F1 = jnp.zeros((4, 6)), jnp.zeros((5, 6))
LISTS = {"f0": F0, "f1": F1, "cells": CELLS, "scale": 1.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"f0": F0[None]}, r"f0 must be \[n channels\], got \(1, 4, 6\). Use jax.vmap"),
        ({"f1": F1[0]}, r"f1 must be \[n channels\], got \(6,\)"),
        ({"f1": F1.astype(int)}, "f1 must be floating"),
        ({"f1": F1[:0]}, r"f1 must have at least one row and channel, got \(0, 6\)"),
        ({"f0": F0[:, :3]}, "f0 and f1 must agree in channels"),
        ({"cells": CELLS[:3]}, "cells must have one row per query"),
        ({"cells": CELLS + 5}, r"cells must lie in \[0, 5\).*got 5 at \[0, 0\]"),
        ({"implementation": "cuda"}, "got 'cuda'"),
        ({"implementation": "pallas_tiles"}, "one of .*, pallas_lists, triton; got 'pallas_tiles'"),
    ],
)
def test_bad_input_of_the_dual_softmax_is_named_at_the_door(change, message):
    with raises_one_line(message):
        sparse_dual_softmax(**LISTS | change)


CENTRES = np.zeros((6, 3), np.int32)
SPOTS = {"centres": CENTRES, "grid0": (2, 3), "grid1": (4, 5), "window": 3}
DOORS = {
    "attention": lambda **x: spot_attention(
        jnp.zeros((6, 2, 8)), jnp.zeros((20, 2, 8)), jnp.zeros((20, 2, 8)), **x
    ),
    "dual": lambda **x: spot_dual_softmax(jnp.zeros((6, 8)), jnp.zeros((20, 8)), scale=1.0, **x),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"centres": CENTRES[0]}, r"centres must be \[queries .*got \(3,\)"),
        ({"centres": CENTRES.astype(np.float32)}, "centres must hold signed integers"),
        ({"centres": CENTRES.astype(np.uint32)}, "centres must hold signed integers"),
        ({"centres": CENTRES[:5]}, r"centres must have one row per query.*6 queries"),
        ({"centres": CENTRES + 20}, r"centres must lie in \[0, 20\).*got 20 at \[0, 0\]"),
        ({"centres": CENTRES - 2}, r"centres must lie in .*got -2 at \[0, 0\]"),
        ({"grid0": (3, 3)}, r"grid0 must be \(h, w\) with h \* w = 6 cells, got \(3, 3\)"),
        ({"grid1": (20,)}, r"grid1 must be \(h, w\) with h \* w = 20 cells, got \(20,\)"),
        ({"window": 4}, "window must be odd, so that it has a centre, got 4"),
        ({"window": -1}, "window must be odd, so that it has a centre, got -1"),
        ({"window": 13, "implementation": "pallas_tiles"}, 'of up to 11, got 13. Use None or "pal'),
        ({"valid0": np.ones(5, bool)}, r"valid0 must be boolean .* of 6 cells, got bool \(5,\)"),
        ({"valid1": np.ones(20)}, r"valid1 must be boolean .* of 20 cells, got float64 \(20,\)"),
        ({"implementation": "cuda"}, "implementation must be None or one of .*got 'cuda'"),
    ],
)
def test_bad_spots_are_named_at_the_door(door, change, message):
    with raises_one_line(message):
        DOORS[door](**SPOTS | change)


@pytest.mark.skipif(jax.default_backend() == "gpu", reason="there it runs")
def test_triton_without_a_gpu_says_why_and_what_to_use():
    with raises_one_line('needs an NVIDIA GPU; this is "cpu". Use None', RuntimeError):
        sparse_attention(Q, K, K, CELLS[:, :1], implementation="triton")
    with raises_one_line('needs an NVIDIA GPU; this is "cpu". Use None', RuntimeError):
        DOORS["attention"](**SPOTS, implementation="triton")


def found(function, *arrays):
    """What checkify reports of a compiled function, None if nothing."""
    error, _ = checkify.checkify(jax.jit(function))(*arrays)
    return error.get()


@pytest.mark.parametrize("implementation", ["segment_sum", "dense", "gather", "pallas_lists"])
def test_checked_reports_bad_lists_inside_jit(implementation):
    def attend(cells):
        return sparse_attention(Q, K, K, cells, implementation=implementation, checked=True)

    good = jnp.array([[0, 4, -1]] * 4)
    assert found(attend, good) is None
    assert "cells must lie in [0, 5)" in found(attend, good.at[2, 1].set(5))
    assert "cells must lie in [0, 5)" in found(attend, good.at[2, 1].set(-2))
    assert "cells must name each key at most once" in found(attend, good.at[2, 1].set(0))


def test_checked_reports_bad_pairs_inside_jit():
    def attend(m_q, m_k):
        return sparse_attention_pairs(Q, K, K, m_q, m_k, checked=True)

    m_q, m_k = jnp.array([3, -1, 0]), jnp.array([4, -1, 4])
    assert found(attend, m_q, m_k) is None
    assert "m_q must lie in [0, 4)" in found(attend, m_q + 1, m_k)
    assert "m_k must lie in [0, 5)" in found(attend, m_q, m_k + 1)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("implementation", ["gather", "pallas_tiles"])
def test_checked_reports_bad_centres_inside_jit(door, implementation):
    def run(centres):
        changed = {"centres": centres, "checked": True, "implementation": implementation}
        return DOORS[door](**SPOTS | changed)

    assert found(run, jnp.asarray(CENTRES)) is None
    assert "centres must lie in [0, 20)" in found(run, jnp.asarray(CENTRES + 20))


def test_without_checked_a_compiled_program_checks_no_values():
    attend = jax.jit(lambda cells: sparse_attention(Q, K, K, cells, implementation="dense"))
    assert attend(jnp.full((4, 3), 7)).shape == Q.shape
