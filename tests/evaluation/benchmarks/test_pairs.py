"""The evaluation of pairs on generated miniatures of its format, with matchers that know."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from astr_jax.evaluation.benchmarks.benchmark import Benchmark
from astr_jax.evaluation.benchmarks.pairs import read_pairs
from astr_jax.evaluation.benchmarks.resizing import Resize
from astr_jax.evaluation.reports import runner
from astr_jax.evaluation.reports.report import score_sets

SIZE = (1000, 690)  # (width, height) -> 640 x 416 at work: another factor on each axis
SCALE = np.array([640 / 1000, 416 / 690])
NUM_PAIRS = 3


def to_working(points):
    return (points + 0.5) * SCALE - 0.5


def rotation(rng):
    """A rotation by up to about 20 degrees about a random axis."""
    x, y, z = rng.uniform(-0.2, 0.2, 3)
    generator = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.linalg.solve(np.eye(3) + generator, np.eye(3) - generator)  # Cayley's


def pose_pair(rng):
    """An entry of the index, and true matches [200 2], [200 2] in pixels of the files."""
    K = np.array([[900.0, 0, 480], [0, 920.0, 350], [0, 0, 1]])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = rotation(rng), rng.uniform(-1, 1, 3)
    X = rng.uniform([-2, -1.5, 4], [2, 1.5, 8], (200, 3))
    Y = X @ T[:3, :3].T + T[:3, 3]
    points = [(Z @ K.T)[:, :2] / Z[:, 2:] for Z in (X, Y)]
    entry = {"K0": K.tolist(), "K1": K.tolist(), "T_0to1": T.tolist()}
    return entry, points


def homography_pair(rng):
    H = np.array([[1.1, 0.1, -20], [-0.1, 0.9, 30], [1e-4, 2e-4, 1.0]])
    H[:2] += rng.uniform(-0.05, 0.05, (2, 3))
    points0 = rng.uniform(0, [SIZE[0] - 1, SIZE[1] - 1], (200, 2))
    lifted = np.c_[points0, np.ones(200)] @ H.T
    return {"H_0to1": H.tolist()}, [points0, lifted[:, :2] / lifted[:, 2:]]


@pytest.fixture
def miniature(tmp_path):
    """Two sets of three pairs, and the true matches of each, by the grey value of image 0."""
    rng = np.random.default_rng(0)
    truth = {}
    for name, make in (("posed", pose_pair), ("flat", homography_pair)):
        (tmp_path / name / "images").mkdir(parents=True)
        entries = []
        for number in range(NUM_PAIRS):
            entry, points = make(rng)
            grey = 10 * len(truth)
            files = [f"images/{number}_{side}.png" for side in (0, 1)]
            for file in files:
                Image.new("L", SIZE, grey).save(tmp_path / name / file)
            truth[grey] = [to_working(p) for p in points]
            entry |= {"image0": files[0], "image1": files[1]}
            entries.append(entry | ({"checked": number == 0} if name == "posed" else {}))
        (tmp_path / name / "index.json").write_text(json.dumps(entries))
    return tmp_path, truth


def oracle(truth, *, sigma=0.0, shuffle=False, seed=0):
    """A matcher that knows the truth, blurs it by sigma px, or mixes up the second points."""
    rng = np.random.default_rng(seed)

    def match(img0, img1, K0=None, K1=None):
        points0, points1 = truth[int(img0[0, 0])]
        points1 = points1[rng.permutation(len(points1))] if shuffle else points1
        return points0, points1 + rng.normal(0, 1, points1.shape) * sigma, np.ones(len(points0))

    return match


def evaluate_pairs(matcher, pairs, **options):
    resize = Resize(long_side=640, multiple=32)
    benchmark = Benchmark(name="pairs", pairs=tuple(pairs), resize=resize)
    return runner.evaluate(benchmark, matcher, **options)


def areas(records):
    """Every area of every set, estimator and threshold."""
    return [area for s in score_sets(records) for row in s.auc.values() for area in row]


def test_perfect_matches_score_100(miniature):
    directory, truth = miniature
    records = evaluate_pairs(oracle(truth), read_pairs([directory]))
    assert len(records) == 2 * NUM_PAIRS
    assert min(areas(records)) > 0.999
    assert all(record.num_matches == 200 and record.failure is None for record in records)
    assert all(share == 1.0 for record in records for share in record.precision.values())


def test_shuffled_matches_score_near_0(miniature):
    directory, truth = miniature
    records = evaluate_pairs(oracle(truth, shuffle=True), read_pairs([directory]))
    assert max(areas(records)) < 0.1
    assert all(share < 0.2 for record in records for share in record.precision.values())


def test_noise_degrades_the_score(miniature):
    directory, truth = miniature
    pairs = read_pairs([directory])
    means = [
        np.mean(areas(evaluate_pairs(oracle(truth, sigma=sigma), pairs))) for sigma in (0, 1, 4, 16)
    ]
    assert means == sorted(means, reverse=True)
    assert means[0] - means[-1] > 0.3


def test_a_failing_pair_counts_as_a_failure_and_is_not_dropped(miniature):
    directory, truth = miniature
    know = oracle(truth)

    def match(img0, img1, K0=None, K1=None):
        if img0[0, 0] == 10:
            raise RuntimeError("out of film")
        return know(img0, img1)

    records = evaluate_pairs(match, read_pairs([directory], ["posed"]))
    assert [record.failure for record in records] == [None, "RuntimeError: out of film", None]
    assert all(math.isinf(error) for (error,) in records[1].errors.values())
    (score,) = score_sets(records)
    assert score.num_pairs == NUM_PAIRS
    assert score.num_failures == 1
    # One pair of three is lost: the curve ends at 2/3.
    assert score.auc["poselib@1"][2] == pytest.approx(2 / 3, abs=1e-3)


@pytest.mark.parametrize(
    "wrong",
    [
        (np.zeros((5, 2)), np.zeros((4, 2)), np.zeros(5)),
        (np.zeros((5, 3)), np.zeros((5, 3)), np.zeros(5)),
        (np.full((5, 2), np.nan), np.zeros((5, 2)), np.zeros(5)),
    ],
)
def test_matches_of_a_wrong_form_are_a_failure(miniature, wrong):
    directory, _ = miniature
    records = evaluate_pairs(lambda a, b, K0=None, K1=None: wrong, read_pairs([directory]))
    assert all("keypoints" in record.failure for record in records)


def test_no_matches_at_all_give_an_infinite_error_but_no_failure(miniature):
    directory, _ = miniature
    none = np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0)
    records = evaluate_pairs(lambda a, b, K0=None, K1=None: none, read_pairs([directory]))
    assert all(math.isinf(error) for record in records for (error,) in record.errors.values())
    assert all(record.failure is None and record.num_matches == 0 for record in records)


def test_the_matcher_gets_intrinsics_of_the_working_size(miniature):
    directory, truth = miniature
    seen = []

    def match(img0, img1, K0=None, K1=None):
        seen.append((img0.shape, img0.dtype, K0))
        return oracle(truth)(img0, img1)

    evaluate_pairs(match, read_pairs([directory], ["posed"])[:1])
    evaluate_pairs(match, read_pairs([directory], ["flat"])[:1])
    (shape, dtype, K0), (_, _, nothing) = seen
    assert shape == (416, 640)
    assert dtype == np.uint8
    np.testing.assert_allclose(K0[:2, 2], to_working(np.array([480.0, 350.0])), atol=1e-9)
    np.testing.assert_allclose(K0[(0, 1), (0, 1)], np.array([900.0, 920.0]) * SCALE, atol=1e-9)
    assert nothing is None


def test_exact_truth_counts_as_checked(miniature):
    directory, truth = miniature
    records = evaluate_pairs(oracle(truth), read_pairs([directory]))
    counts = {s.set: s.num_pairs for s in score_sets(records, checked_only=True)}
    assert counts == {"posed": 1, "flat": NUM_PAIRS}


def test_progress_hears_of_every_pair_in_order(miniature):
    directory, truth = miniature
    heard = []
    records = evaluate_pairs(oracle(truth), read_pairs([directory]), on_record=heard.append)
    assert heard == records


def test_reading_names_what_is_wrong(miniature, tmp_path):
    directory, _ = miniature
    with pytest.raises(ValueError, match=r"no set nowhere\. There are: flat, posed"):
        read_pairs([directory], ["nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no index\.json"):
        read_pairs([tmp_path / "empty"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entry: entry.pop("image0"), "pair 1: image0 must be a path.*got None"),
        (lambda entry: entry.update(image1="gone.png"), r"pair 1: image1: there is no .*gone\.png"),
        (lambda entry: entry.update(K1=[[1, 0], [0, 1]]), "pair 1: K1 must be 3 rows of 3 numbers"),
        (lambda entry: entry.update(T_0to1="north"), "pair 1: T_0to1 must be 4 rows of 4 numbers"),
        (lambda entry: entry.update(K0=[[math.nan] * 3] * 3), "pair 1: K0 must be 3 rows"),
        (
            lambda entry: entry.pop("K0"),
            "pair 1: 1_0 1_1 must have either K0, K1 and T_0to1, or H_0to1; got K1, T_0to1",
        ),
        (
            lambda entry: entry.update(T_0to1=np.diag([2.0, 2, 2, 1]).tolist()),
            "pair 1: 1_0 1_1: T_0to1 must be a rotation and a translation",
        ),
        (lambda entry: entry.update(T_0to1=np.diag([1.0, 1, 1, 0]).tolist()), "T_0to1 must be"),
        (lambda entry: entry.update(T_0to1=np.diag([-1.0, 1, 1, 1]).tolist()), "T_0to1 must be"),
        (
            lambda entry: entry.update(K0=np.diag([9.0, 9, 2]).tolist()),
            "K0 must have positive focal lengths and a last row of 0 0 1",
        ),
        (lambda entry: entry.update(checked="no"), "checked must be true or false; got 'no'"),
    ],
)
def test_a_wrong_entry_is_named_by_file_pair_and_key(miniature, change, message):
    file = miniature[0] / "posed" / "index.json"
    entries = json.loads(file.read_text())
    change(entries[1])
    file.write_text(json.dumps(entries))
    with pytest.raises(ValueError, match=message) as error:
        read_pairs([miniature[0]])
    assert str(error.value).startswith(str(file))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{", r"index\.json is not JSON"),
        ('{"image0": "a.png"}', r"index\.json must hold a list of pairs; got dict"),
        ('["a.png"]', r"index\.json, pair 0: a pair must be an object.*got 'a\.png'"),
    ],
)
def test_an_index_of_another_form_is_refused_with_its_name(tmp_path, text, message):
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_pairs([tmp_path])


def test_a_homography_without_an_inverse_is_refused(miniature):
    file = miniature[0] / "flat" / "index.json"
    entries = json.loads(file.read_text())
    entries[1]["H_0to1"] = np.diag([1.0, 1, 0]).tolist()
    file.write_text(json.dumps(entries))
    with pytest.raises(ValueError, match="pair 1: 1_0 1_1: H_0to1 must have an inverse"):
        read_pairs([miniature[0]])


def test_pairs_of_the_same_stems_are_told_apart_by_their_folders(tmp_path):
    entries = []
    for folder in "ab":
        (tmp_path / folder).mkdir()
        for name in ("0.png", "1.png"):
            Image.new("L", (8, 8)).save(tmp_path / folder / name)
        images = {"image0": f"{folder}/0.png", "image1": f"{folder}/1.png"}
        entries.append(images | {"H_0to1": np.eye(3).tolist()})
    entries.append(entries[0] | {"image1": "b/1.png", "image0": "b/1.png"})
    (tmp_path / "index.json").write_text(json.dumps(entries))
    assert [pair.name for pair in read_pairs([tmp_path])] == ["a/0 a/1", "b/0 b/1", "1 1"]


def test_one_set_can_be_read_by_its_own_folder(miniature):
    directory, _ = miniature
    assert {pair.set for pair in read_pairs([directory / "flat"])} == {"flat"}
    with pytest.raises(ValueError, match="two sets are called flat"):
        read_pairs([directory / "flat", _copy_of(directory / "flat")])


@pytest.mark.parametrize("overlap", ["0.5", "null"])
def test_the_overlap_of_an_index_is_read(tmp_path, overlap):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    entry = '"image0": "a.png", "image1": "a.png", "H_0to1": [[1,0,0],[0,1,0],[0,0,1]]'
    (tmp_path / "index.json").write_text(f'[{{{entry}, "overlap": {overlap}}}]')
    (pair,) = read_pairs([tmp_path])
    assert pair.overlap == (None if overlap == "null" else 0.5)
    (tmp_path / "index.json").write_text(f'[{{{entry}, "overlap": 1.5}}]')
    with pytest.raises(ValueError, match=r"pair 0: overlap must be a number in \[0, 1\]; got 1\.5"):
        read_pairs([tmp_path])


def _copy_of(folder):
    other = folder.parent / "elsewhere" / folder.name
    other.mkdir(parents=True)
    (other / "index.json").write_text("[]")
    return other
