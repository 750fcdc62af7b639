"""The examples run, and say what their pages say."""

import pathlib
import re
import runpy

import pytest

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("epipolar_bands", lambda every, band: band > 1.5 * every),  # right matches, %
        ("learned_lists", lambda every, lists, weighted: weighted < 0.1 * min(every, lists)),
    ],
)
def test_an_example_shows_what_its_rule_is_good_for(name, better, capsys):
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    last = [float(re.findall(r"[0-9.]+", line)[-1]) for line in lines]
    assert better(*(last if name == "epipolar_bands" else last[1:]))
