"""eval.py from pairs to a comparison and a page, and where it was killed in between."""

import pathlib
import re
import runpy

import pytest
from miniatures import GRID, make_shifted
from PIL import Image

from astr_jax.evaluation.reports.report import read_report

COMMAND = pathlib.Path(__file__).parents[2] / "eval.py"


def command(*arguments):
    runpy.run_path(str(COMMAND))["main"]([str(a) for a in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    make_shifted(root)
    return root


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
    assert page.count("src='data:image/png;base64,") >= 8
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
