"""Ten synthetic pairs to run over, and two reports of six pairs to draw."""

import numpy as np
import pytest
from miniatures import grid_matcher, make_shifted
from synthetic import SIZE, make_pair

from astr_jax.evaluation.benchmarks.benchmark import Benchmark
from astr_jax.evaluation.benchmarks.pairs import read_pairs
from astr_jax.evaluation.benchmarks.resizing import Resize
from astr_jax.evaluation.reports.report import Report
from astr_jax.evaluation.reports.runner import evaluate, protocol


def failing_once(img0, img1, K0=None, K1=None):
    if img0[0, 0] == 1:
        raise RuntimeError("<out of film>")
    return grid_matcher(img0, img1)[:3]


@pytest.fixture(scope="session")
def benchmark(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    make_shifted(root)
    return Benchmark(name="pairs", pairs=tuple(read_pairs([root])), resize=Resize(long_side=320))


@pytest.fixture(scope="session")
def reports(benchmark):
    """Of a matcher with sigma that always finds something, and of one that fails at times."""
    return [
        Report(
            matcher=name,
            protocol=protocol(benchmark),
            records=tuple(evaluate(benchmark, matcher)),
        )
        for name, matcher in (("grid", grid_matcher), ("a <b>", failing_once))
    ]


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A benchmark of ten pairs, and their true matches by number."""
    folder, rng = tmp_path_factory.mktemp("world"), np.random.default_rng(0)
    made = [make_pair(folder, number, rng) for number in range(10)]
    benchmark = Benchmark(
        name="world", pairs=tuple(pair for pair, _ in made), resize=Resize(size=SIZE)
    )
    return benchmark, [points for _, points in made]
