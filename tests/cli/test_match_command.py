"""astr match: masks, large pictures, and a stdout that takes nothing. No model runs."""

import sys

import numpy as np
import pytest
from pictures import picture
from PIL import Image

from astr_jax.cli import main
from astr_jax.cli import match as command
from astr_jax.matching import Matcher
from astr_jax.params import Calibration, Params
from astr_jax.types import Matches
from astr_jax.viz import CellFrame


@pytest.fixture
def seen(tmp_path, monkeypatch, micro_config):
    """Two pictures and masks of them in the current folder; the images that are matched."""
    monkeypatch.chdir(tmp_path)
    params = Params({}, micro_config, Calibration(threshold=0.0))
    monkeypatch.setattr(command.api, "load", lambda name: params)
    Image.fromarray(picture(48, 64)).save("left.png")
    Image.fromarray(picture(48, 64)).save("right.png")
    mask = np.zeros((48, 64), np.uint8)
    mask[:, 32:] = 1
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save("masks/left.png.png")  # as COLMAP names it; 0 and 1
    Image.fromarray(255 * mask).save("white.png")
    alpha = np.stack([picture(48, 64), 255 * mask], axis=-1)
    Image.fromarray(alpha, "LA").save("alpha.png")
    Image.fromarray(mask[:5]).save("small.png")
    images = []

    def match(self, image0, image1, K0=None, K1=None):
        images[:] = image0.prepared, image1.prepared
        return Matches.none()

    monkeypatch.setattr(Matcher, "match", match)
    monkeypatch.setattr(command, "frame_of", lambda image: CellFrame(8, (1.0, 1.0)))
    return images


def match(*words):
    return main(["match", *words, "--resize", "64"])


@pytest.mark.parametrize(
    ("words", "hidden"),
    [
        (["left.png", "right.png", "--mask0", "white.png"], (True, False)),
        (["left.png", "right.png", "--mask0", "masks"], (True, False)),
        (["left.png", "right.png", "--mask1", "white.png"], (False, True)),
        (["alpha.png", "right.png", "--alpha", "mask"], (True, False)),
        (["alpha.png", "right.png"], (False, False)),
    ],
)
def test_a_mask_hides_its_image(seen, words, hidden):
    assert match(*words) == 0
    half = np.zeros((48, 64), bool)
    half[:, 32:] = True
    for image, halved in zip(seen, hidden, strict=True):
        np.testing.assert_array_equal(image.mask[0], half if halved else np.ones_like(half))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--mask0", "none.png"], "the mask of LEFT: there is no file none.png"),
        (["--mask1", "masks"], "there is no mask of right.png in masks, such as right.png"),
        (["--mask0", "small.png"], "the mask of LEFT must be bool (48, 64)"),
    ],
)
def test_a_mask_that_is_none_is_named(seen, capsys, words, message):
    assert match("left.png", "right.png", *words) == 2
    assert message in capsys.readouterr().err


def test_a_large_picture_is_read_where_this_is_asked_for(seen, capsys, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert match("left.png", "right.png") == 2
    assert "left.png is larger than Pillow reads" in capsys.readouterr().err
    assert match("left.png", "right.png", "--max-pixels", "4000") == 0


class Closed:
    """A stdout whose reader is gone, or whose disk is full."""

    def __init__(self, error):
        self.error = error

    def write(self, text):
        raise self.error

    def flush(self):
        raise self.error


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
        (OSError(28, "No space left on device"), 2, "No space left on device"),
    ],
)
def test_files_are_written_whatever_becomes_of_stdout(
    seen, tmp_path, capsys, monkeypatch, error, code, words
):
    monkeypatch.setattr(sys, "stdout", Closed(error))
    assert match("left.png", "right.png", "--out", "m.png", "--save", "m.npz") == code
    assert (tmp_path / "m.png").stat().st_size > 1000
    with np.load("m.npz") as saved:
        assert saved["keypoints0"].shape == (0, 2)
    assert words in capsys.readouterr().err


def test_what_is_said_of_an_image_is_one_line_on_stderr(seen, capsys):
    deep = (1000 + 4 * picture(48, 64).astype(np.uint16)).astype(np.uint16)
    Image.fromarray(deep).save("deep.png")
    assert match("deep.png", "right.png") == 0
    out, err = capsys.readouterr()
    assert err.startswith("astr match: an image of 16 bits uses a small part of its range")
    assert err.count("\n") == 1
    assert "matches in" in out
