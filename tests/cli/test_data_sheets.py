"""Sheets of training pairs: whole files or none, and bad options before the work."""

import cv2
import numpy as np
import pytest

from astr_jax.cli import main
from astr_jax.cli.files import save_pixels


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        coarse = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.resize(coarse, (256, 192)))
    return folder


@pytest.mark.parametrize("kind", [(), ("--lifted",)])
def test_a_sheet_of_photographs_shows_its_pairs(photos, tmp_path, kind):
    out = tmp_path / "sheet.png"
    options = "--rows", "1", "--columns", "1", *kind
    assert main(["data", "sheet", "--photos", str(photos), "--out", str(out), *options]) == 0
    assert cv2.imread(str(out)).std() > 5


def test_a_picture_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    out = tmp_path / "sheet.png"
    out.write_bytes(b"the one before")
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, None))
    with pytest.raises(OSError, match="cannot be written"):
        save_pixels(np.zeros((4, 4, 3), np.uint8), str(out))
    assert out.read_bytes() == b"the one before"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("options", "words"),
    [(("--kinds", "moon"), "kinds must be some of"), (("--rows", "0"), "must be positive")],
)
def test_worlds_that_are_none_are_refused_before_photographs_are_read(
    photos, tmp_path, monkeypatch, capsys, options, words
):
    monkeypatch.setattr("astr_jax.data.photos.read_photos", None)
    out = tmp_path / "worlds.png"
    given = ["data", "worlds", "--photos", str(photos), "--out", str(out), *options]
    assert main(given) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()
