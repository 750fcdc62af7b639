"""eval.py gallery: what it refuses at once."""

import pathlib
import runpy

import pytest

EVAL = runpy.run_path(str(pathlib.Path(__file__).parents[2] / "eval.py"))


@pytest.mark.parametrize(
    ("out", "message"),
    [("gallery.pdf", "must end in .png, .jpg"), ("nowhere/gallery.jpg", "there is no folder")],
)
def test_a_sheet_that_cannot_be_written_is_refused_at_once(capsys, tmp_path, out, message):
    with pytest.raises(SystemExit):
        EVAL["main"](["gallery", "--matcher", "orb", "--out", str(tmp_path / out)])
    assert message in capsys.readouterr().err
