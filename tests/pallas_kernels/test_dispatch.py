"""What None chooses, from static facts alone."""

import jax.numpy as jnp
import pytest

from pallas_kernels.sparse_attention import (
    choose_implementation,
    spot_attention,
    spot_dual_softmax,
)
from pallas_kernels.sparse_attention.dispatch import choose_for_spots, why_no_tiles


def test_none_chooses_dense_for_few_keys_and_lists_for_many():
    assert choose_implementation("cpu", num_keys=1250, slots=125) == "dense"
    assert choose_implementation("cpu", num_keys=1251, slots=125) == "gather"
    assert choose_implementation("cpu", num_keys=91, slots=9) == "gather"
    assert choose_implementation("gpu", num_keys=4800, slots=125) == "pallas_lists"
    assert choose_implementation("tpu", num_keys=4800, slots=125) == "segment_sum"


def test_tiles_cannot_take_wide_windows_heads_and_features():
    assert why_no_tiles(11, row=512) == why_no_tiles(5, channels=256) == ""
    assert "windows of up to 11, got 13" in why_no_tiles(13)
    assert "heads of up to 512 bytes" in why_no_tiles(5, row=1024)
    assert "up to 256 channels, got 512" in why_no_tiles(5, channels=512)
    features, centres = jnp.ones((6, 1, 256)), jnp.zeros((6, 1), jnp.int32)
    knobs = {"grid0": (2, 3), "grid1": (2, 3), "window": 3}
    with pytest.raises(ValueError, match=r"takes heads of up to 512 bytes .*, got 1024. Use None"):
        spot_attention(*[features] * 3, centres, **knobs, implementation="pallas_tiles")
    wide = jnp.ones((6, 512))
    with pytest.raises(ValueError, match="takes features of up to 256 channels, got 512"):
        spot_dual_softmax(wide, wide, centres, scale=1.0, **knobs, implementation="pallas_tiles")


def test_none_for_spots_on_a_gpu_decides_while_it_runs_unless_tiles_cannot():
    sizes = {"num_keys": 4800, "windows": 5}
    assert choose_for_spots("gpu", window=5, **sizes) == "tiles_or_lists"
    assert choose_for_spots("gpu", window=11, **sizes) == "tiles_or_lists"
    assert choose_for_spots("gpu", window=13, tiles=False, **sizes) == "pallas_lists"


def test_none_for_spots_elsewhere_chooses_as_for_their_lists():
    assert choose_for_spots("cpu", num_keys=1250, windows=5, window=5) == "dense"
    assert choose_for_spots("cpu", num_keys=1251, windows=5, window=5) == "gather"
    assert choose_for_spots("tpu", num_keys=1251, windows=5, window=5) == "segment_sum"
