"""astr eval places, from sets of pictures to a table, a figure and JSON; and what it is made of."""

import json
import sys
import types

import numpy as np
import pytest
from PIL import Image

from astr_jax.cli import main
from astr_jax.evaluation.benchmarks.pairs import read_pairs
from astr_jax.evaluation.scores.found import FoundMatches
from astr_jax.evaluation.studies import places

SETS = ("hill", "lake", "wood")
COUNT = 4  # pictures of a set
MATCHER = "made_up_places:match"


@pytest.fixture
def folder(tmp_path):
    """Three sets of grey pictures: the tens of a grey are its set, the ones its number."""
    for tens, name in enumerate(SETS, 1):
        (tmp_path / name).mkdir()
        for ones in range(COUNT):
            Image.new("L", (96, 64), 10 * tens + ones).save(tmp_path / name / f"{ones}.png")
        pairs = [
            {"image0": f"{i}.png", "image1": f"{j}.png", "H_0to1": np.eye(3).tolist()}
            for i in range(COUNT)
            for j in range(i)
        ]
        (tmp_path / name / "index.json").write_text(json.dumps(pairs))
    return tmp_path


@pytest.fixture
def calls(monkeypatch):
    """The pairs of greys that a matcher was asked for, which knows the sets of the pictures."""
    asked = []

    def match(img0, img1):
        greys = int(img0[0, 0]), int(img1[0, 0])
        asked.append(greys)
        rng = np.random.default_rng(greys)
        points0 = 8.0 * np.stack(np.mgrid[:10, :8], axis=-1).reshape(-1, 2)
        if greys[0] // 10 == greys[1] // 10:
            return points0, points0 + rng.normal(0, 0.3, points0.shape), np.full(80, 0.98)
        return points0[::2], rng.uniform(0, 80, (40, 2)), np.full(40, 0.92)

    module = types.ModuleType("made_up_places")
    module.match, module.__file__ = match, __file__
    monkeypatch.setitem(sys.modules, "made_up_places", module)
    return asked


def run(folder, *options):
    return main(["eval", "places", str(folder), "--matcher", MATCHER, *map(str, options)])


def test_pairs_apart_are_of_different_sets_and_each_is_there_once(folder):
    pairs = read_pairs([folder])
    drawn = places.apart(pairs, 40, seed=3)
    assert len({frozenset((x.image0, x.image1)) for x in drawn}) == 40
    for pictures in drawn:
        assert pictures.image0.parent.name == pictures.set0 != pictures.set1
        assert pictures.image1.parent.name == pictures.set1
    sets = [frozenset((x.set0, x.set1)) for x in drawn]
    counts = [sets.count(names) for names in set(sets)]
    assert (len(counts), max(counts) - min(counts) <= 1) == (3, True)
    assert places.apart(pairs, 12, seed=3) == drawn[:12]
    assert places.apart(pairs, 40, seed=4) != drawn
    with pytest.raises(ValueError, match=r"have 48 pairs of pictures .* 49 were asked"):
        places.apart(pairs, 49, seed=0)


def test_pairs_of_one_place_are_those_of_the_lists(folder):
    pairs = read_pairs([folder])
    drawn = places.together(pairs, 100, seed=0)
    assert sorted((x.image0, x.image1) for x in drawn) == sorted(
        (x.image0, x.image1) for x in pairs
    )
    assert all(pictures.same for pictures in drawn)
    assert places.together(pairs, 5, seed=0) == drawn[:5]


def test_the_fit_finds_the_constants_that_made_the_pairs(rng):
    evidence = rng.normal(0, 1, (40_000, 2))
    chance = 1 / (1 + np.exp(-(evidence @ [1.5, -0.5])))
    same = rng.random(len(chance)) < chance
    np.testing.assert_allclose(places.fitted(evidence, same), [1.5, -0.5, 0.0], atol=0.08)


def test_inliers_lie_on_one_geometry(rng):
    world = np.append(rng.uniform(-1, 1, (60, 2)), rng.uniform(4, 8, (60, 1)), axis=1)
    points0, points1 = (
        500 * p[:, :2] / p[:, 2:] + 300 for p in (world, world + np.array([1, 0.2, 0.3]))
    )
    points1[:20] = rng.uniform(200, 400, (20, 2))
    found = FoundMatches(points0=points0, points1=points1, confidence=np.ones(60))
    assert 40 <= places.inliers_of(found) <= 46
    assert places.inliers_of(found[:7]) == 0


def test_the_command_prints_draws_and_writes(folder, calls, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- places -->\n<!-- end of places -->\nafter\n")
    out, png = tmp_path / "places.json", tmp_path / "places.png"
    options = "--pairs", 9, "--out", out, "--png", png, "--into", page, "--fit"
    assert run(folder, *options) == 0
    printed = capsys.readouterr().out
    assert "| all | 9 | 1.000 [1.000, 1.000] |" in printed
    assert "| nothing in common | 9 |" in printed
    assert "fitted: fitting " in printed
    assert page.read_text().startswith("before\n<!-- places -->\n\n| pairs of one place | pairs |")
    assert len(calls) == 18
    rows = json.loads(out.read_text())["pairs"]
    assert [row["set0"] == row["set1"] for row in rows] == [True] * 9 + [False] * 9
    assert min(row["score"] for row in rows[:9]) > 0.5 > max(row["score"] for row in rows[9:])
    with Image.open(png) as figure:
        assert figure.width > 600
    assert list(tmp_path.glob("*.partial.jsonl")) == []


def test_what_was_matched_is_judged_again_without_matching(folder, calls, tmp_path, capsys):
    out = tmp_path / "places.json"
    assert run(folder, "--pairs", 12, "--out", out) == 0
    asked, rows = len(calls), json.loads(out.read_text())["pairs"]
    again = tmp_path / "again.json"
    assert main(["eval", "places", "--from", str(out), "--out", str(again)]) == 0
    assert json.loads(again.read_text()) == json.loads(out.read_text())
    for option in ("--sets", "--without"):
        words = ["eval", "places", "--from", str(out), option, "hill,lake", "--out", str(again)]
        assert main(words) == 0
        found = json.loads(again.read_text())["pairs"]
        inside = [{x["set0"], x["set1"]} <= {"hill", "lake"} for x in rows]
        wanted = option == "--sets"
        assert found == [x for x, both in zip(rows, inside, strict=True) if both is wanted]
        assert {x["set0"] == x["set1"] for x in found} == {True, False}
    assert len(calls) == asked
    (tmp_path / "other.json").write_text('{"pairs": [3]}')
    for known, words in (("other.json", "not what astr eval places"), ("no.json", "no file")):
        assert main(["eval", "places", "--from", str(tmp_path / known)]) == 2
        assert words in capsys.readouterr().err
    assert main(["eval", "places", str(folder), "--from", str(out)]) == 2


def test_a_run_that_was_killed_goes_on(folder, calls, tmp_path, monkeypatch):
    out = tmp_path / "places.json"
    partial = tmp_path / "places.json.partial.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(places, "inliers_of", lambda found: 1 // (len(calls) < 8))
        with pytest.raises(ZeroDivisionError):
            run(folder, "--pairs", 6, "--out", out)
    assert len(partial.read_text().splitlines()) == 1 + 7
    partial.write_text(partial.read_text() + '{"cut')
    assert run(folder, "--pairs", 6, "--out", out) == 0
    assert len(calls) == 8 + 5
    assert len(json.loads(out.read_text())["pairs"]) == 12


def test_what_another_matcher_began_is_refused(folder, calls, tmp_path, capsys):
    partial = tmp_path / "places.json.partial.jsonl"
    for content, words in (('{"matcher": "sift"}\n', "another matcher"), ("[3]\n4\n", "no study")):
        partial.write_text(content)
        assert run(folder, "--pairs", 2, "--out", tmp_path / "places.json") == 2
        assert words.replace("no study", "not the beginning of a study") in capsys.readouterr().err
    assert calls == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--pairs", 0), "--pairs must be at least 1"),
        (("--out", "a.txt"), "must end in .json"),
        (("--sets", "hill"), "0 pairs of pictures with nothing in common; 320"),
        (("--sets", "sea"), "there is no set sea"),
    ],
)
def test_what_cannot_be_done_is_said_before_matching(folder, calls, options, words, capsys):
    assert run(folder, *options) == 2
    assert words in capsys.readouterr().err
    assert calls == []
