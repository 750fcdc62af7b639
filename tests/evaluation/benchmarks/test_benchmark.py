"""What all benchmarks are held to."""

import pytest

from astr_jax.evaluation.benchmarks import hpatches
from astr_jax.evaluation.benchmarks.benchmark import Benchmark
from astr_jax.evaluation.benchmarks.resizing import Resize


def test_two_pairs_of_one_name_are_refused(tmp_path, sequences):
    pairs = hpatches.read(tmp_path).pairs
    with pytest.raises(ValueError, match="two pairs of the set hpatches are called 'v_adam 1 6'"):
        Benchmark(name="twice", pairs=(*pairs, pairs[-1]), resize=Resize(size=(64, 64)))
    with pytest.raises(ValueError, match="nothing has no pair"):
        Benchmark(name="nothing", pairs=(), resize=Resize(size=(64, 64)))
