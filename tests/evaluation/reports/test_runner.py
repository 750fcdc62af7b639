"""Benchmarks of synthetic geometry, run by matchers that know the truth, and taken up again."""

import dataclasses
import hashlib
import json
import math

import jax
import numpy as np
import pytest
from PIL import Image

from astr_jax.evaluation.benchmarks.benchmark import Benchmark
from astr_jax.evaluation.benchmarks.pairs import Pair
from astr_jax.evaluation.benchmarks.resizing import Resize
from astr_jax.evaluation.benchmarks.truths import HomographyTruth, PoseTruth
from astr_jax.evaluation.reports.report import Report, score_sets
from astr_jax.evaluation.reports.runner import evaluate, protocol
from astr_jax.evaluation.scores import metrics
from astr_jax.evaluation.scores.calibration import pooled, sigma_factor
from astr_jax.evaluation.scores.homographies import HOMOGRAPHY
from astr_jax.evaluation.scores.kinds import KINDS
from astr_jax.evaluation.scores.poses import POSE

SIZE = (320, 256)  # (w, h)
K = np.array([[300.0, 0, 160], [0, 300.0, 128], [0, 0, 1]])
POINTS = 150


def turned(degrees, axis):
    """A rotation [3 3] about the first, second or third axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    a, b = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    matrix[a, a] = matrix[b, b] = c
    matrix[a, b], matrix[b, a] = -s, s
    return matrix


def make_pair(folder, number, rng):
    """A pair, posed or flat by turns, and its true matches; image 0 says in grey which it is."""
    images = [folder / f"{number}_{side}.png" for side in (0, 1)]
    for image in images:
        grey = rng.integers(0, 255, SIZE[::-1], dtype=np.uint8)
        grey[0, 0] = number
        Image.fromarray(grey).save(image)
    common = {"name": str(number), "image0": images[0], "image1": images[1], "checked": True}
    if number % 2:
        H = turned(rng.uniform(-10, 10), 2)
        H[:2, 2], H[2, :2] = rng.uniform(-20, 20, 2), rng.uniform(-2e-4, 2e-4, 2)
        points0 = rng.uniform(0, [SIZE[0] - 1, SIZE[1] - 1], (POINTS, 2))
        points = points0, metrics.warp_points(H, points0)
        return Pair(set="flat", truth=HomographyTruth(homography=H), **common), points
    T = np.eye(4)
    T[:3, :3] = turned(rng.uniform(-10, 10), 1) @ turned(rng.uniform(-20, 20), 2)
    T[:3, 3] = rng.uniform(-1, 1, 3)
    X = rng.uniform([-2, -1.5, 4], [2, 1.5, 8], (POINTS, 3))
    Y = X @ T[:3, :3].T + T[:3, 3]
    points = tuple((Z @ K.T)[:, :2] / Z[:, 2:] for Z in (X, Y))
    truth = PoseTruth(K0=K, K1=K, cam1_from_cam0=T)
    return Pair(set="posed", truth=truth, overlap=0.1 * number, **common), points


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A benchmark of ten pairs, and their true matches by number."""
    folder, rng = tmp_path_factory.mktemp("world"), np.random.default_rng(0)
    made = [make_pair(folder, number, rng) for number in range(10)]
    benchmark = Benchmark(
        name="world", pairs=tuple(pair for pair, _ in made), resize=Resize(size=SIZE)
    )
    return benchmark, [points for _, points in made]


def oracle(truth, *, noise=0.0, shuffle=False, sigma=None):
    """A matcher that knows the truth; its noise depends on the pair alone."""

    def match(img0, img1, K0=None, K1=None):
        number = int(img0[0, 0])
        points0, points1 = truth[number]
        rng = np.random.default_rng(number)
        points1 = points1[rng.permutation(POINTS)] if shuffle else points1
        blurred = points1 + rng.normal(0, 1, points1.shape) * noise
        confidence = np.linspace(1, 0.05, POINTS)
        more = () if sigma is None else (np.full(POINTS, sigma),)
        return points0, blurred, confidence, *more

    return match


def areas(records):
    return {(s.kind, n): np.array(a) for s in score_sets(records) for n, a in s.auc.items()}


def without_times(records):
    return [dataclasses.replace(r, seconds=0.0, first_call=False, memory_mib=None) for r in records]


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


class Killed(BaseException):
    """Not an Exception, as a KeyboardInterrupt is none."""


def killed_after(count):
    heard = []

    def hear(record):
        heard.append(record)
        if len(heard) == count:
            raise Killed

    return hear


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_killed_run_goes_on_to_the_same_records(world, tmp_path, cut):
    benchmark, truth = world
    partial, matcher = tmp_path / "out.partial.jsonl", oracle(truth, noise=2.0, sigma=1.0)
    whole = evaluate(benchmark, matcher)
    with pytest.raises(Killed):
        evaluate(benchmark, matcher, partial=partial, on_record=killed_after(4))
    if cut:  # a kill in the middle of a line
        partial.write_bytes(partial.read_bytes()[:-cut])
    calls, heard = [], []

    def counted(img0, img1, K0=None, K1=None):
        calls.append(int(img0[0, 0]))
        return matcher(img0, img1)

    records = evaluate(benchmark, counted, partial=partial, on_record=heard.append)
    assert calls == list(range(3 if cut else 4, 10))
    assert heard == records
    assert without_times(records) == without_times(whole)
    # A third call has nothing left to match, and its records are those of the file.
    calls.clear()
    assert evaluate(benchmark, counted, partial=partial) == records
    assert not calls


def test_a_header_cut_short_begins_anew(world, tmp_path):
    benchmark, truth = world
    partial = tmp_path / "p.jsonl"
    partial.write_text('{"protocol": {"benchm')
    assert len(evaluate(benchmark, oracle(truth), partial=partial)) == 10
    assert len(partial.read_text().splitlines()) == 11


@pytest.mark.parametrize(
    ("changes", "options", "named"),
    [
        ({}, {"seeds": (0, 1)}, "seeds"),
        ({}, {"settings": {"weights": "other"}}, "weights"),
        ({"max_matches": 10}, {}, "max_matches"),
        ({"resize": Resize(long_side=256)}, {}, "resize"),
        ({"pose_estimators": ("poselib@2",)}, {}, "pose_estimators"),
    ],
)
def test_another_protocol_is_refused(world, tmp_path, changes, options, named):
    benchmark, truth = world
    partial = tmp_path / "p.jsonl"
    with pytest.raises(Killed):
        evaluate(benchmark, oracle(truth), partial=partial, on_record=killed_after(1))
    before = partial.read_bytes()
    changed = dataclasses.replace(benchmark, **changes)
    with pytest.raises(ValueError, match=rf"another protocol: {named} differ"):
        evaluate(changed, oracle(truth), partial=partial, **options)
    fewer = dataclasses.replace(benchmark, pairs=benchmark.pairs[1:])
    with pytest.raises(ValueError, match="another protocol: pairs, truth_sha256, whole differ"):
        evaluate(fewer, oracle(truth), partial=partial)
    first = benchmark.pairs[0]
    truth = dataclasses.replace(first.truth, K0=np.diag([2.0, 2, 1]) @ first.truth.K0)
    other = dataclasses.replace(first, truth=truth)
    moved = dataclasses.replace(benchmark, pairs=(other, *benchmark.pairs[1:]))
    with pytest.raises(ValueError, match="another protocol: truth_sha256 differ"):
        evaluate(moved, oracle(truth), partial=partial)
    assert partial.read_bytes() == before


def test_more_pairs_than_there_are_is_no_beginning(world, tmp_path):
    benchmark, truth = world
    partial = tmp_path / "p.jsonl"
    evaluate(benchmark, oracle(truth), partial=partial)
    lines = partial.read_text().splitlines()
    partial.write_text("\n".join([*lines, lines[-1]]) + "\n")
    with pytest.raises(ValueError, match=r"has 11 pairs of 10\. Remove it"):
        evaluate(benchmark, oracle(truth), partial=partial)


def test_a_damaged_line_is_named(world, tmp_path):
    benchmark, truth = world
    partial = tmp_path / "p.jsonl"
    with pytest.raises(Killed):
        evaluate(benchmark, oracle(truth), partial=partial, on_record=killed_after(2))
    header, first, *rest = partial.read_text().splitlines()
    partial.write_text("\n".join([header, first[:50], *rest]) + "\n")
    with pytest.raises(ValueError, match=r"p\.jsonl is not the beginning of a report"):
        evaluate(benchmark, oracle(truth), partial=partial)


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
