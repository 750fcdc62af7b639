"""A whole match of odd pairs, by the nano model; in the suite by the fewest compiled programs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import picture
from verdicts import EXAMPLES, ask, assert_finite, examples

import astr_jax
from astr_jax.params import Calibration, Params, fold_params

CAMERAS = (
    None,
    [[60.0, 0, 31.5], [0, 61.0, 23.5], [0, 0, 1]],
    [[1e-6, 0, 0], [0, 1e9, 0], [0, 0, 1]],
    [[60.0, 1e6, -1e6], [0, 60.0, 1e6], [0, 0, 1]],
    [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 0]],
    np.full((3, 3), np.nan),
    "K",
)
POLISH = st.booleans() if EXAMPLES else st.just(False)  # each a program of its own
FILLS = ("texture",) * 6 + ("black", "white", "noise", "step", "nan")


@pytest.fixture(scope="module")
def params(nano_config, nano_variables):
    return fold_params(Params(nano_variables, nano_config, Calibration(threshold=0.0)))


@st.composite
def images(draw):
    shape = draw(st.sampled_from(((48, 64), (40, 64), (24, 64), (1, 64), (48, 7), (100, 200))))
    fill = draw(st.sampled_from(FILLS))
    if fill in ("texture", "step"):
        image = picture(*shape, seed=draw(st.integers(0, 3)))
        return np.where(image > 128, np.uint8(255), np.uint8(0)) if fill == "step" else image
    if fill == "noise":
        return np.random.default_rng(draw(st.integers(0, 3))).random(shape).astype(np.float32)
    return np.full(shape, {"black": 0.0, "white": 1.0, "nan": np.nan}[fill], np.float32)


@st.composite
def masks(draw, image):
    kind = draw(st.sampled_from((None,) * 6 + ("some", "none", "strip", "wrong")))
    shape = image.shape[::-1] if kind == "wrong" else image.shape
    if kind is None:
        return None
    mask = np.zeros(shape, bool)
    mask[: {"some": shape[0] // 2, "strip": 1}.get(kind, 0)] = True
    return mask


@examples(12, most=48)
@given(
    data=st.data(),
    polish=POLISH,
    most=st.sampled_from((None, None, 1, 7, 7, 0)),
)
def test_any_pair_has_finite_matches_or_is_refused_by_a_name(params, data, polish, most):
    pair = [data.draw(images()) for _ in range(2)]
    names = ("img0", "img1", "mask", "K0", "K1", "max_matches")
    given_masks = [data.draw(masks(image)) for image in pair]
    cameras = data.draw(st.just((None, None)) | st.tuples(*[st.sampled_from(CAMERAS)] * 2))

    def door():
        return astr_jax.match(
            params,
            *pair,
            mask0=given_masks[0],
            mask1=given_masks[1],
            K0=cameras[0],
            K1=cameras[1],
            estimator=None if EXAMPLES else "none",
            polish=polish,
            max_matches=most,
            resize=64,
            scales=1,
            upright=True,
        )

    matches = ask("matching", door, *names)
    if matches is None:
        return
    assert_finite(matches)
    found = matches.compact()
    assert len(found) <= (most or len(matches))
    for points, image, mask in (
        (found.keypoints0, pair[0], given_masks[0]),
        (found.keypoints1, pair[1], given_masks[1]),
    ):
        assert (points >= -64).all()
        assert (points <= np.array(image.shape[::-1]) + 64).all()
        assert mask is None or mask.any() or not len(found)
