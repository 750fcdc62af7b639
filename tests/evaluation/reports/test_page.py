"""The page and its pictures: self-contained, complete, and drawn from the records."""

import base64
import dataclasses
import io
import json
import pathlib
import re
import runpy

import cv2
import numpy as np
import pytest
from PIL import Image

from astr_jax.evaluation.benchmarks.benchmark import Benchmark
from astr_jax.evaluation.benchmarks.pairs import read_pairs
from astr_jax.evaluation.benchmarks.resizing import Resize
from astr_jax.evaluation.command import NamedMatcher
from astr_jax.evaluation.reports import figures
from astr_jax.evaluation.reports.page import page_of
from astr_jax.evaluation.reports.pictures import draw_pairs, matcher_of
from astr_jax.evaluation.reports.report import Report, read_report
from astr_jax.evaluation.reports.runner import evaluate, protocol
from astr_jax.evaluation.scores import metrics
from astr_jax.viz import panels

COMMAND = pathlib.Path(__file__).parents[3] / "eval.py"
GRID = np.mgrid[20:300:12, 20:220:12].reshape(2, -1).T.astype(float)  # [k 2]


def grid_matcher(img0, img1, K0=None, K1=None):
    """True matches of a shift by (-8, 0), with noise that grows as the confidence falls."""
    rng = np.random.default_rng(int(img0[0, 0]))
    sigma = np.linspace(0.2, 3.0, len(GRID))
    noise = rng.normal(0, 1, GRID.shape) * sigma[:, None]
    return GRID, GRID - [8, 0] + noise, np.linspace(1, 0.1, len(GRID)), sigma


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two sets of three pairs: shifted noise as homographies and as a sideways step."""
    root, rng = tmp_path_factory.mktemp("sets"), np.random.default_rng(0)
    K = [[300.0, 0, 160], [0, 300.0, 120], [0, 0, 1]]
    step = [[1, 0, 0, -1.0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    truths = {
        "flat": {"H_0to1": [[1, 0, -8], [0, 1, 0], [0, 0, 1]]},
        "posed": {"K0": K, "K1": K, "T_0to1": step, "checked": True},
    }
    for name, truth in truths.items():
        (root / name).mkdir()
        entries = []
        for number in range(3):
            texture = rng.integers(0, 255, (240, 328), dtype=np.uint8)
            for side, part in enumerate((texture[:, :320], texture[:, 8:])):
                part = np.ascontiguousarray(part)
                part[0, 0] = number
                Image.fromarray(part).save(root / name / f"{number}_{side}.png")
            images = {f"image{side}": f"{number}_{side}.png" for side in (0, 1)}
            entries.append(images | truth | {"overlap": 0.3 * number})
        (root / name / "index.json").write_text(json.dumps(entries))
    return root


@pytest.fixture(scope="module")
def benchmark(folder):
    pairs = tuple(read_pairs([folder]))
    return Benchmark(name="pairs", pairs=pairs, resize=Resize(long_side=320))


def failing_once(img0, img1, K0=None, K1=None):
    if img0[0, 0] == 1:
        raise RuntimeError("<out of film>")
    return grid_matcher(img0, img1)[:3]


@pytest.fixture(scope="module")
def reports(benchmark):
    return [
        Report(
            matcher=name,
            protocol=protocol(benchmark),
            records=tuple(evaluate(benchmark, matcher)),
        )
        for name, matcher in (("grid", grid_matcher), ("a <b>", failing_once))
    ]


def embedded(page):
    return [
        Image.open(io.BytesIO(base64.b64decode(text)))
        for text in re.findall(r"src='data:image/png;base64,([^']+)'", page)
    ]


def test_the_page_has_everything_and_needs_no_other_file(reports, benchmark):
    pictures = draw_pairs(reports[0], benchmark, grid_matcher, count=1)
    page = page_of(reports, pictures)
    images = embedded(page)
    # Curves, accuracy, two kinds of difficulty and of calibration, and two pairs of each kind.
    assert len(images) == 2 + 2 + 2 + 4
    assert all(np.asarray(image.convert("L")).std() > 5 for image in images)
    assert not re.findall(r"(?:src|href)=['\"](?!data:)", page)
    for words in ("a &lt;b&gt;", "Failures", "&lt;out of film&gt;", "Protocol", "worst: posed"):
        assert words in page
    assert "<b>" not in page
    assert "differs" not in page.split("<h2>Protocol")[1]  # both were made alike


def test_a_report_of_some_pairs_says_so_on_its_page(reports):
    some = dataclasses.replace(reports[0], protocol=reports[0].protocol | {"whole": 9})
    assert "grid: 6 pairs of the 9 of pairs" in page_of([some])
    assert "pairs of the" not in page_of(reports[:1])


def test_the_curves_have_a_panel_per_estimator_that_ends_at_the_share_of_found_pairs(reports):
    figure = figures.draw_curves(reports)
    names = ["poselib@1", "magsac@1", "ransac@0.5", "magsac@3"]
    assert [axes.get_title() for axes in figure.axes] == names
    for axes in figure.axes:
        curves = [line for line in axes.lines if len(line.get_xdata()) == 400]
        assert all((np.diff(line.get_ydata()) >= 0).all() for line in curves)
        for curve, report in zip(curves, reports, strict=True):
            errors = [r.errors.get(axes.get_title()) for r in report.records]
            found = [e[0] < axes.get_xlim()[1] for e in errors if e is not None]
            assert curve.get_ydata()[-1] == pytest.approx(np.mean(found))
    # Of three pairs one fails.
    ends = [line.get_ydata()[-1] for line in figure.axes[3].lines if len(line.get_xdata()) == 400]
    assert ends == pytest.approx([1.0, 2 / 3])


def test_calibration_is_drawn_of_the_pooled_matches(reports):
    figure = figures.draw_calibration(reports[:1], "homography")
    confidence, sigma = figure.axes
    claimed, found = confidence.lines[-1].get_data()
    assert found[0] < 0.9 < found[-1]  # the noise grows as the confidence falls
    assert (np.diff(claimed) > 0).all()
    x, y = sigma.lines[-1].get_data()
    assert x[-1] > 2
    np.testing.assert_allclose(y, np.sqrt(2 * np.log(2)) * x, rtol=0.2)
    factor = re.fullmatch(r"grid \(sigma x ([\d.]+) fits\)", sigma.lines[-1].get_label())[1]
    assert float(factor) == pytest.approx(1, abs=0.1)
    without = figures.draw_calibration(reports[1:], "homography")
    assert len(without.axes) == 1  # it gives no sigma


def test_the_page_of_a_matcher_without_sigma_or_probabilities_has_no_calibration(reports):
    without = {"confidence_bins": None, "sigma_bins": None}
    records = [dataclasses.replace(record, **without) for record in reports[0].records]
    page = page_of([dataclasses.replace(reports[0], records=tuple(records))])
    assert "Calibration" not in page


def test_difficulty_is_drawn_against_what_is_known(reports):
    labels = [axes.get_xlabel() for axes in figures.draw_difficulty(reports, "pose").axes]
    assert labels == ["overlap", "true rotation about the optical axis, degrees"]
    assert len(figures.draw_difficulty(reports, "homography").axes) == 3


def test_a_pair_that_fails_again_is_told_in_words(reports, benchmark):
    pictures = draw_pairs(reports[1], benchmark, failing_once, count=1)
    broken = [picture for picture in pictures if picture.figure is None]
    assert len(broken) == 2
    assert all("RuntimeError: <out of film>" in picture.words for picture in broken)


def test_a_picture_says_how_many_matches_it_has_and_the_report_had(reports, benchmark):
    def every_other(*images, **cameras):
        return [array[::2] for array in grid_matcher(*images)]

    same = draw_pairs(reports[0], benchmark, grid_matcher, count=1)
    assert all(f", {len(GRID)} matches;" in picture.words for picture in same)
    fewer = draw_pairs(reports[0], benchmark, every_other, count=1)
    words = f", {len(GRID) // 2} matches (in the report {len(GRID)});"
    assert all(words in picture.words for picture in fewer)


def test_without_a_baseline_colours_are_distances_from_where_the_rotation_leads(reports, benchmark):
    turn, step = np.eye(4), np.eye(4)
    turn[:3, :3] = cv2.Rodrigues(np.array([0.05, 0.1, 0.2]))[0]
    step[:3, 3] = 1
    record, pair = reports[0].records[3], benchmark.pairs[3]
    assert record.kind == "pose"

    def half_right(img0, img1, K0, K1):
        there = metrics.warp_points(K1 @ turn[:3, :3] @ np.linalg.inv(K0), GRID)
        there[::2] += [0, 10]
        return GRID, there, np.linspace(1, 0.1, len(GRID))

    report = dataclasses.replace(reports[0], records=(record,))
    pictures = []
    for truth in (turn, step @ turn):
        pairs = (dataclasses.replace(pair, cam1_from_cam0=truth),)
        pictures += draw_pairs(report, dataclasses.replace(benchmark, pairs=pairs), half_right)
    still, moved = pictures
    assert "colours: distance from the truth, a rotation without a baseline" in still.words
    assert moved.words.endswith("colours: Sampson distance")
    green, red = panels.ERROR([0.0, 1.0])[:, :3]
    for dots in still.figure.axes[0].collections[1:]:  # after the lines, of each image
        colours = dots.get_facecolors()[:, :3]
        np.testing.assert_allclose(colours[::2], np.tile(red, (len(GRID[::2]), 1)), atol=1e-6)
        np.testing.assert_allclose(colours[1::2], np.tile(green, (len(GRID[1::2]), 1)), atol=1e-6)


@pytest.fixture
def asked():
    """A finder of matchers that knows astr by two weights and orb, and what it was asked for."""
    calls = []

    def find(name, weights, resize, upright=True):
        calls.append((name, weights, resize, *([] if upright else ["turned"])))
        if name != "astr":
            assert upright, "--no-upright is of astr"
            return NamedMatcher(match=grid_matcher, settings={"matcher": name})
        if weights not in ("tiny", "moved/tiny_again.safetensors", "other.safetensors"):
            raise FileNotFoundError(f"{weights} is no file.")
        settings = {
            "weights": f"{weights}.safetensors" if weights == "tiny" else weights.split("/")[-1],
            "weights_sha256": "beef" if weights == "other.safetensors" else "ab12",
            "match_resize": resize,
        }
        return NamedMatcher(match=grid_matcher, settings=settings)

    return find, calls


ASTR = {"weights": "tiny.safetensors", "weights_sha256": "ab12", "match_resize": 480}


@pytest.mark.parametrize(
    ("stated", "options", "expected"),
    [
        (ASTR, {}, ("astr", "tiny", 480)),
        (ASTR, {"name": "astr"}, ("astr", "tiny", 480)),
        (ASTR | {"upright": False}, {}, ("astr", "tiny", 480, "turned")),
        (
            ASTR,
            {"weights": "moved/tiny_again.safetensors"},
            ("astr", "moved/tiny_again.safetensors", 480),
        ),
        ({"matcher": "orb"}, {}, ("orb", None, None)),
        ({}, {"name": "orb"}, ("orb", None, None)),  # records of Python, without settings
    ],
)
def test_pairs_are_matched_again_by_what_the_report_states(
    reports, asked, stated, options, expected
):
    find, calls = asked
    report = dataclasses.replace(reports[0], protocol=stated)
    assert matcher_of(report, find, **options) is grid_matcher
    assert calls == [expected]


@pytest.mark.parametrize(
    ("stated", "options", "message"),
    [
        (
            ASTR,
            {"weights": "other.safetensors"},
            "weights tiny.safetensors, sha256 ab12; these are the weights other.safetensors, "
            "sha256 beef. Give that file by --weights",
        ),
        (
            ASTR | {"weights": "mine.safetensors"},
            {},
            "with the weights mine.safetensors, sha256 ab12: give that file by --weights",
        ),
        (ASTR, {"name": "orb"}, "with weights tiny.safetensors, here it is none"),
        (ASTR | {"upright": False}, {"name": "orb"}, "with weights tiny.safetensors, here it is"),
        (ASTR | {"matcher": "astr 2"}, {}, "with matcher astr 2, here it is none"),
        ({"matcher": "sift"}, {"name": "orb"}, "with matcher sift, here it is orb"),
        ({}, {}, "the report of grid states no matcher: give --matcher"),
    ],
)
def test_another_matcher_than_the_report_states_is_refused(
    reports, asked, stated, options, message
):
    report = dataclasses.replace(reports[0], protocol=stated)
    with pytest.raises(ValueError, match=message):
        matcher_of(report, asked[0], **options)


def test_another_folder_is_refused(reports, benchmark):
    fewer = Benchmark(name="pairs", pairs=benchmark.pairs[:2], resize=benchmark.resize)
    with pytest.raises(ValueError, match="4 pairs of the report are not in the folders"):
        draw_pairs(reports[0], fewer, grid_matcher)


def command(*arguments):
    runpy.run_path(str(COMMAND))["main"]([str(a) for a in arguments])


def test_the_commands_lead_from_pairs_to_a_page(folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "grid_of_page.py").write_text(
        "import numpy as np\n"
        "def match(img0, img1):\n"
        "    grid = np.mgrid[20:300:12, 20:220:12].reshape(2, -1).T.astype(float)\n"
        "    return grid, grid - [8, 0], np.full(len(grid), 0.9)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    matcher = ("--matcher", "grid_of_page:match")
    command("pairs", folder, *matcher, "--long-side", 320, "--seeds", 2, "--out", "a.json")
    command("pairs", folder, "--matcher", "orb", "--long-side", 320, "--out", "b.json")
    assert not list(tmp_path.glob("*.partial.jsonl"))
    assert read_report("a.json").protocol["seeds"] == [0, 1]
    capsys.readouterr()
    command("compare", "b.json", "a.json")
    printed = capsys.readouterr().out
    assert "The protocols differ in:" in printed
    assert "told from noise" in printed
    images = ("--images", folder, "--count", 1)
    command("page", "a.json", "b.json", "--out", "p.html", "--png", "c.png", *images)
    page = (tmp_path / "p.html").read_text()
    assert len(embedded(page)) >= 8
    captions = re.findall("<figcaption>(.*?)<", page)
    assert len(captions) == 4
    assert all(f", {len(GRID)} matches;" in words for words in captions)  # the first's matcher
    with pytest.raises(SystemExit):
        command("page", "a.json", "--out", "p.html", *images, "--matcher", "orb")
    assert "with matcher grid_of_page:match, here it is orb" in capsys.readouterr().err
    with Image.open("c.png") as picture:
        assert picture.width > 1000
    with pytest.raises(SystemExit):
        command("page", "a.json")
    assert "give --out FILE.html, --png FILE.png, or both" in capsys.readouterr().err


def test_a_killed_command_goes_on_where_it_was(folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "killed_at.py").write_text(
        "import numpy as np\n"
        "calls = []\n"
        "limit = [3]\n"
        "def match(img0, img1):\n"
        "    calls.append(1)\n"
        "    if len(calls) > limit[0]:\n"
        "        raise KeyboardInterrupt\n"
        "    return np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    arguments = ("pairs", folder, "--matcher", "killed_at:match", "--out", "r.json")
    with pytest.raises(SystemExit, match="130"):
        command(*arguments)
    assert len((tmp_path / "r.json.partial.jsonl").read_text().splitlines()) == 1 + 3
    assert not (tmp_path / "r.json").exists()
    import killed_at

    killed_at.calls.clear()
    killed_at.limit[0] = 99
    command(*arguments)
    assert len(killed_at.calls) == 3
    assert len(read_report("r.json").records) == 6
    assert not (tmp_path / "r.json.partial.jsonl").exists()
