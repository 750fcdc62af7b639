"""Any option, camera and point of a match, and any setting of a configuration."""

import dataclasses
import json

import numpy as np
from damage import VALUES, WORDS, spoiled_json
from hypothesis import given
from hypothesis import strategies as st
from verdicts import ask, assert_finite, examples

from astr_jax import configurations
from astr_jax.config import ModelConfig, from_json, override, to_json
from astr_jax.images import Prepared
from astr_jax.matching import MatchOptions
from astr_jax.matching.working import working_intrinsics, working_points

K = [[60.0, 0, 31.5], [0, 61.0, 23.5], [0, 0, 1]]
odd_values = st.sampled_from((*VALUES, *WORDS, 64, 640, 2, (1, 2), 0.5, "auto", "mask", "pose"))
odd_values |= st.sampled_from(
    (np.zeros(3), np.int64(64), np.float32(0.3), np.array("auto"), "none")
)
odd_values |= st.integers(-(2**70), 2**70) | st.floats()

GOOD = {
    "max_matches": (None, 1, np.int64(7), 2**40),
    "threshold": (None, 0, 0.5, np.float32(0.3)),
    "resize": (64, 65, np.int64(640), 2**15),
    "estimator": (None, "pose", "affine", "none"),
    "upright": ("auto", True, False),
    "polish": (True, "all", False),
    "alpha": ("drop", "mask"),
    "scales": ("auto", 1, (1, 2), [0.5], np.array([4.0, 0.125])),
}


@st.composite
def options(draw):
    """Options by their names, most of them good."""
    names = draw(st.lists(st.sampled_from(sorted(GOOD)), min_size=1, max_size=4, unique=True))
    good = {name: draw(st.sampled_from(GOOD[name])) for name in names}
    return good | draw(st.dictionaries(st.sampled_from(names), odd_values, max_size=1))


@examples(25)
@given(options=options())
def test_any_option_is_taken_or_refused_by_its_name(options):
    chosen = ask("options", lambda: MatchOptions(**options), *options)
    if chosen is not None and chosen.estimator != "pose":
        assert chosen.estimator_for(None, None) in ("affine", "none")


@st.composite
def prepared(draw):
    batch, (h, w) = draw(st.integers(0, 2)), draw(st.sampled_from(((48, 64), (1, 9), (64, 3))))
    scale = draw(st.sampled_from(((1.0, 1.0), (2.0, 2.5), (0.5, 10.0))))
    ones = np.ones((max(batch, 1), h, w), np.float32)
    return Prepared(ones, ones > 0, scale, batch > 0, draw(st.integers(0, 3)))


@examples(15)
@given(image=prepared(), camera=spoiled_json(K) | st.just([K, K]) | odd_values)
def test_any_camera_is_taken_or_refused_by_its_name(image, camera):
    found = ask("cameras", lambda: working_intrinsics(camera, image, "K0"), "K0")
    if found is not None and camera is not None:
        assert_finite(found)
        assert found.shape == (*image.pixels.shape[:1], 3, 3)


@examples(8)
@given(image=prepared(), points=spoiled_json([[1.5, 2], [3, 4.0]]) | odd_values)
def test_any_points_are_taken_or_refused_by_their_name(image, points):
    found = ask("points", lambda: working_points(points, image), "keypoints0")
    if found is not None:
        assert_finite(found)


@st.composite
def settings(draw, config):
    """NAME, VALUE of --set: mostly names that there are."""
    names = []
    while dataclasses.is_dataclass(config):
        names.append(draw(st.sampled_from([f.name for f in dataclasses.fields(config)])))
        config = getattr(config, names[-1])
        if draw(st.integers(0, 19)) == 0:
            break
    if draw(st.integers(0, 9)) == 0:
        names.append(draw(st.sampled_from(WORDS)))
    texts = st.sampled_from((*WORDS, "true", "none", "(1, 2, x)", "1 2 3 4 5", "2.0,1.0", "nan,1"))
    texts |= st.integers(-3, 10**20).map(str) | st.floats().map(str) | st.just(str(config))
    return ".".join(names), draw(texts)


def experiment():
    return configurations.read("tiny").experiment()


@examples(25)
@given(data=st.data())
def test_any_setting_is_taken_or_refused_by_its_name(data):
    config = experiment()
    path, text = data.draw(settings(config))
    changed = ask(
        "settings", lambda: override(config, path, text), *filter(None, path.split(".")), path
    )
    if changed is not None:
        assert type(changed) is type(config)
        assert changed == override(changed, path, text) or "nan" in text


@examples(15)
@given(value=spoiled_json(json.loads(to_json(ModelConfig()))))
def test_any_configuration_of_a_file_is_read_or_refused_by_the_field(value):
    names = ("ModelConfig", "Config", *_names(ModelConfig()))
    config = ask("configurations", lambda: from_json(ModelConfig, json.dumps(value)), *names)
    if config is not None:
        assert from_json(ModelConfig, to_json(config)) == config


def _names(config):
    for field in dataclasses.fields(config):
        yield field.name
        if dataclasses.is_dataclass(getattr(config, field.name)):
            yield from _names(getattr(config, field.name))
