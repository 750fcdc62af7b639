"""Two reports of six pairs: what their pages, figures and pictures are made from."""

import pytest
from miniatures import grid_matcher, make_shifted

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
