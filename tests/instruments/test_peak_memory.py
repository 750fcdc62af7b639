"""The peak memory of a match: of a process of its own, whatever this one holds."""

import sys

import numpy as np
import pytest
from pictures import darker, picture

from astr_jax.instruments import peak_memory
from astr_jax.instruments.peak_memory import peak_of_match, process_peak
from astr_jax.params import Params, save_params


@pytest.fixture(scope="module")
def pair():
    image = picture(48, 64)
    return image, darker(image)


def test_the_peak_is_that_of_the_other_process(
    tmp_path, monkeypatch, micro_config, micro_variables, pair
):
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # which compiles quickly
    weights = tmp_path / "micro.safetensors"
    save_params(weights, Params(micro_variables, micro_config))
    ballast = np.ones((400, 2**17))  # MiB
    peak = peak_of_match(weights, *pair)
    assert 50 < peak.before < peak.process
    assert peak.device is None  # on a CPU
    if sys.platform == "linux":
        assert peak.before < process_peak() - 0.9 * len(ballast)


def test_a_process_that_fails_is_an_error_with_its_last_words(tmp_path, pair):
    with pytest.raises(ChildProcessError, match=r"ended with code 1: .*nowhere\.safetensors"):
        peak_of_match(tmp_path / "nowhere.safetensors", *pair)


def test_without_the_status_of_linux_the_system_is_asked(monkeypatch, tmp_path):
    asked = process_peak()
    monkeypatch.setattr(peak_memory, "STATUS", tmp_path / "nothing")
    assert 0.5 * asked < process_peak()
