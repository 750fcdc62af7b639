"""Other matchers: what is called where their packages are there, and what is left out."""

import contextlib
import importlib.machinery
import sys
import types

import numpy as np
import pytest
from pictures import darker, picture

from astr_jax.instruments import rivals
from astr_jax.instruments.rivals import LOFTR_LARGEST, opencv_task, rival_tasks


@pytest.mark.parametrize("name", ["SIFT", "ORB"])
def test_opencv_matches_a_picture_with_itself_and_nothing_with_black(name):
    image = picture(240, 320)
    assert opencv_task(name, image, darker(image))() > 20
    assert opencv_task(name, image, np.zeros_like(image))() == 0


class Found(list):
    def cpu(self):
        return self


@pytest.fixture
def loftr_calls(monkeypatch):
    """Stands in for torch and kornia; the shapes that LoFTR is called with."""
    calls = []

    class LoFTR:
        def __init__(self, pretrained):
            assert pretrained is None

        def eval(self):
            return self

        def to(self, device):
            return self

        def __call__(self, given):
            calls.append([given[name].shape for name in ("image0", "image1")])
            return {"keypoints0": Found([1, 2])}

    class Tensor(np.ndarray):
        def to(self, device):
            assert device == "cpu"
            return self

    parts = {
        "torch": {
            "manual_seed": lambda seed: None,
            "cuda": types.SimpleNamespace(is_available=lambda: False),
            "inference_mode": contextlib.nullcontext,
            "from_numpy": lambda array: array.view(Tensor),
        },
        "kornia": {},
        "kornia.feature": {"LoFTR": LoFTR},
    }
    for name, held in parts.items():
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        vars(module).update(held)
        monkeypatch.setitem(sys.modules, name, module)
    return calls


def test_loftr_is_called_with_sides_that_it_takes(loftr_calls):
    tasks = rival_tasks(picture(67, 90), picture(48, 64))
    assert tasks["LoFTR"]() == 2
    assert loftr_calls == [[(1, 1, 64, 88), (1, 1, 48, 64)]]


@pytest.mark.usefixtures("loftr_calls")
def test_loftr_is_left_out_of_large_pictures():
    large = np.zeros((8, LOFTR_LARGEST + 8), np.uint8)
    assert "LoFTR" not in rival_tasks(large, large)


@pytest.mark.usefixtures("loftr_calls")
def test_what_is_not_installed_is_left_out(monkeypatch):
    image, there = picture(48, 64), {"cv2", "torch", "kornia"}
    for missing, names in (
        ({"kornia"}, {"SIFT", "ORB"}),
        ({"torch"}, {"SIFT", "ORB"}),
        ({"cv2"}, {"LoFTR"}),
        (there, set()),
    ):
        monkeypatch.setattr(rivals, "is_installed", (there - missing).__contains__)
        assert set(rival_tasks(image, image)) == names
