"""Benchmarks of synthetic geometry, run by matchers that know the truth."""

import dataclasses
import hashlib
import json
import math

import jax
import numpy as np
import pytest
from synthetic import POINTS, SIZE, K, oracle

from astr_jax.evaluation.benchmarks.benchmark import Benchmark
from astr_jax.evaluation.benchmarks.pairs import Pair
from astr_jax.evaluation.benchmarks.resizing import Resize
from astr_jax.evaluation.benchmarks.truths import HomographyTruth, PoseTruth
from astr_jax.evaluation.reports.report import Report, score_sets
from astr_jax.evaluation.reports.runner import evaluate, protocol
from astr_jax.evaluation.scores.calibration import pooled, sigma_factor
from astr_jax.evaluation.scores.homographies import HOMOGRAPHY
from astr_jax.evaluation.scores.kinds import KINDS
from astr_jax.evaluation.scores.poses import POSE


def areas(records):
    return {(s.kind, n): np.array(a) for s in score_sets(records) for n, a in s.auc.items()}


def test_perfect_matches_score_100(world):
    benchmark, truth = world
    records = evaluate(benchmark, oracle(truth))
    assert all((area > 0.999).all() for area in areas(records).values())
    assert all(share == 1.0 for record in records for share in record.precision.values())
    assert all(record.num_matches == POINTS for record in records)


def test_shuffled_matches_score_near_0(world):
    benchmark, truth = world
    records = evaluate(benchmark, oracle(truth, shuffle=True))
    assert all((area < 0.12).all() for area in areas(records).values())
    # By chance a point lies near a line far more often than near a point.
    limit = {POSE: 0.2, HOMOGRAPHY: 0.05}
    shares = [(r.kind, max(r.precision.values())) for r in records]
    assert all(share < limit[kind] for kind, share in shares), shares


def test_more_noise_never_scores_better(world):
    benchmark, truth = world
    levels = [areas(evaluate(benchmark, oracle(truth, noise=sigma))) for sigma in (0, 1, 3, 9)]
    for key in levels[0]:
        means = [level[key].mean() for level in levels]
        assert means == sorted(means, reverse=True), key
        assert means[0] - means[-1] > 0.3, key


def test_precision_counts_the_matches_within_each_radius(world):
    benchmark, truth = world
    flat = [r for r in evaluate(benchmark, oracle(truth, noise=2.0)) if r.kind == HOMOGRAPHY]
    shares = np.mean([list(record.precision.values()) for record in flat], axis=0)
    # Rayleigh: the share of errors within r is 1 - exp(-r^2 / (2 sigma^2)).
    expected = 1 - np.exp(-(np.arange(1, 11) ** 2) / 8)
    np.testing.assert_allclose(shares, expected, atol=0.05)


def test_a_true_sigma_is_found_true(world):
    benchmark, truth = world
    records = evaluate(benchmark, oracle(truth, noise=0.6, sigma=0.6))
    for kind in KINDS:
        bins = [record.sigma_bins for record in records if record.kind == kind]
        assert all(np.sum(table["counts"]) == POINTS for table in bins)
        assert sigma_factor(pooled(bins), kind.median_of_sigma_1) == pytest.approx(1, rel=0.15)
    assert evaluate(benchmark, oracle(truth))[0].sigma_bins is None


def test_only_the_most_confident_matches_are_scored(world):
    benchmark, truth = world

    def match(img0, img1, K0=None, K1=None):
        points0, points1, confidence = oracle(truth)(img0, img1)
        wrong = np.full_like(points1, 5.0)
        return np.r_[points0, points0], np.r_[wrong, points1], np.r_[confidence / 100, confidence]

    most = dataclasses.replace(benchmark, max_matches=100)
    records = evaluate(most, match)
    assert all(r.num_matches == 100 and set(r.precision.values()) == {1.0} for r in records)


def test_every_seed_has_its_error(world):
    benchmark, truth = world
    records = evaluate(benchmark, oracle(truth, noise=3.0), seeds=(0, 1, 2))
    alone = evaluate(benchmark, oracle(truth, noise=3.0), seeds=(1,))
    for record, one in zip(records, alone, strict=True):
        for name, errors in record.errors.items():
            assert len(errors) == 3
            assert errors[1] == one.errors[name][0]
    score = score_sets(records)[0]
    assert max(max(spread) for spread in score.auc_spread.values()) > 0


def test_what_makes_a_pair_hard_is_recorded(world):
    benchmark, truth = world
    records = evaluate(benchmark, oracle(truth))
    assert records[2].overlap == pytest.approx(0.2)
    assert records[2].scale_ratio is None
    assert abs(records[2].rotation) < 25
    assert records[1].scale_ratio == pytest.approx(1.0, abs=0.1)


def test_a_failing_pair_is_a_failure_and_the_first_call_is_told_apart(world):
    benchmark, truth = world
    know = oracle(truth)

    def match(img0, img1, K0=None, K1=None):
        if img0[0, 0] == 4:
            raise RuntimeError("out of film")
        return know(img0, img1)

    records = evaluate(benchmark, match)
    assert [r.failure for r in records if r.failure] == ["RuntimeError: out of film"]
    assert all(math.isinf(error) for errors in records[4].errors.values() for error in errors)
    assert [record.first_call for record in records] == [True] + [False] * 9
    assert all(record.memory_mib > 1 for record in records)
    (score,) = (s for s in score_sets(records) if s.set == "posed")
    assert (score.num_pairs, score.num_failures) == (5, 1)
    assert score.auc["poselib@1"][2] == pytest.approx(4 / 5, abs=1e-3)


def test_the_memory_of_a_device_is_recorded_where_it_tells(world):
    class Device:
        device_kind = "sandbox"

        def memory_stats(self):
            return {"peak_bytes_in_use": 3 * 2**20}

    benchmark, truth = world
    records = evaluate(benchmark, oracle(truth), device=Device())
    assert {record.device_memory_mib for record in records} == {3.0}
    assert protocol(benchmark, device=Device())["device"] == "sandbox"
    own = protocol(benchmark)["device"]
    assert own == protocol(benchmark, device=jax.devices("cpu")[0])["device"]
    assert own.startswith("cpu, ")


@pytest.mark.parametrize(
    ("changes", "seeds", "message"),
    [
        ({"pose_estimators": ("poselib@one",)}, (0,), "no pose estimator"),
        ({"homography_estimators": ("gold@3",)}, (0,), "no homography estimator"),
        ({}, (), "seeds must be"),
        ({}, (0, 0), "seeds must be"),
    ],
)
def test_a_wrong_protocol_is_refused_before_the_first_match(world, changes, seeds, message):
    benchmark, _ = world
    with pytest.raises(ValueError, match=message):
        evaluate(dataclasses.replace(benchmark, **changes), pytest.fail, seeds=seeds)


def test_the_checksum_of_the_truth_is_what_older_reports_have(tmp_path):
    """Of the bytes written out here: else no run could go on, and no reports compare."""
    (tmp_path / "0.png").write_bytes(b"123")
    common = {"set": "s", "image0": tmp_path / "0.png", "image1": tmp_path / "none.png"}
    pose = PoseTruth(K0=K, K1=2 * K + np.diag([0, 0, -1]), cam1_from_cam0=np.eye(4))
    flat = HomographyTruth(homography=np.diag([2.0, 1, 1]))
    pairs = (
        Pair(name="a", truth=pose, overlap=0.5, **common),
        Pair(name="b", truth=flat, checked=False, group="g", cluster="c", **common),
    )
    first = b"'s''a'3NoneTrue''''0.5", pose.K0, pose.K1, pose.cam1_from_cam0, b"None"
    second = b"'s''b'3NoneFalse'g''c'NoneNoneNoneNone", flat.homography
    expected = hashlib.sha256(b"".join(map(bytes, (*first, *second)))).hexdigest()
    benchmark = Benchmark(name="both", pairs=pairs, resize=Resize(size=SIZE))
    assert protocol(benchmark)["truth_sha256"] == expected


def test_the_protocol_states_what_moves_the_figures(world):
    benchmark, truth = world
    stated = protocol(benchmark, seeds=(0, 1), settings={"weights": "w"})
    assert json.loads(json.dumps(stated)) == stated
    assert stated["weights"] == "w"
    assert stated["resize"] == {"size": [320, 256], "multiple": 1}
    records = tuple(evaluate(benchmark, oracle(truth)))
    report = Report(matcher="oracle", protocol=stated, records=records)
    assert report.image_size == "320 x 256 px"
