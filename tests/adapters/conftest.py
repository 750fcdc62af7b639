"""Two pictures, weights in a file, and what astr_jax itself finds: what every adapter must give."""

import functools
import importlib
import importlib.util
import sys

import numpy as np
import pytest
from adapters import standins
from pictures import picture

import astr_jax
from astr_jax.adapters import tensors
from astr_jax.params import Calibration, Params, save_params
from astr_jax.types import Matches

OPTIONS = {"resize": 128, "scales": 1, "polish": False}  # so that little compiles
ELSEWHERE = "elsewhere"  # a device


@pytest.fixture(scope="session")
def weights(nano_config, nano_variables, tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "nano.safetensors"
    save_params(file, Params(nano_variables, nano_config, Calibration(threshold=0.0)))
    return str(file)


@pytest.fixture(scope="session")
def options(weights):
    """Of every matcher here; its weights are read once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors, "load", functools.cache(tensors.load))
        yield {"weights": weights, **OPTIONS}


@pytest.fixture(scope="session")
def photos():
    """Two grey pictures of one size, float32 [h w] in [0, 1], exactly as uint8 has them."""
    whole = picture(104, 136, seed=3)
    return [np.float32(whole[k : k + 96, k : k + 128]) / 255 for k in (0, 8)]


@pytest.fixture(scope="session")
def match(weights):
    """match(image0, image1, ...) -> what astr_jax itself finds."""
    params = astr_jax.load(weights)
    return lambda *images, **more: astr_jax.match(params, *images, **OPTIONS, **more).compact()


@pytest.fixture(scope="session")
def expected(photos, match):
    """What astr_jax finds in the two pictures."""
    found = match(*photos)
    assert len(found) > 20
    return found


@pytest.fixture
def torch(monkeypatch):
    """PyTorch, or its stand-in."""
    if importlib.util.find_spec("torch") is None:
        monkeypatch.setitem(sys.modules, "torch", standins.torch())
    return importlib.import_module("torch")


@pytest.fixture
def to_tensors(torch):
    """to_tensors(array, ...) -> tensors of arrays, on the device that there is."""
    device = ELSEWHERE if torch.Tensor is standins.Tensor else "cpu"
    return lambda *arrays: [torch.tensor(array, device=device) for array in arrays]


@pytest.fixture
def adapter(torch, monkeypatch):
    """adapter(name) -> a module of astr_jax.adapters, its package stood in for where it is
    missing."""
    missing = {
        "hloc": standins.modules("hloc.utils.base_model", BaseModel=standins.HlocModel),
        "gluefactory": standins.modules(
            "gluefactory.models.base_model", BaseModel=standins.GlueFactoryModel
        ),
    }
    matchers = standins.modules("hloc.matchers")["hloc.matchers"]
    missing["hloc"]["hloc.matchers"] = missing["hloc"]["hloc"].matchers = matchers

    def imported(name):
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            for module, contents in missing.get(name, {}).items():
                monkeypatch.setitem(sys.modules, module, contents)
        return importlib.import_module(f"astr_jax.adapters.{name}")

    yield imported
    for name in ("astr_jax.adapters.hloc", "astr_jax.adapters.gluefactory", "hloc.matchers.astr"):
        sys.modules.pop(name, None)


@pytest.fixture
def many():
    """More matches than a signed integer of 16 bits can count."""
    count = 40_000
    numbers = np.arange(count)
    points = np.stack([numbers % 640, numbers // 640], axis=1).astype(np.float32)
    return Matches(
        keypoints0=points,
        keypoints1=points + np.float32(0.25),
        confidence=np.linspace(1, 0.25, count, dtype=np.float32),
        covariance=np.tile(np.eye(2, dtype=np.float32), (count, 1, 1)),
        scale=np.full(count, 2, np.float32),
        cell0=numbers.astype(np.int32),
        cell1=numbers.astype(np.int32),
        valid=np.ones(count, bool),
    )
