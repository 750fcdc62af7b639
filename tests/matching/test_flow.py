"""The flow of a pair: of a model with flow heads, and of matches."""

import dataclasses

import numpy as np
import pytest
from small_models import NANO, random_variables

import astr_jax
from astr_jax.config import AspanConfig, SpanConfig
from astr_jax.params import Params
from astr_jax.viz import draw_flow, pixels_of

SPANS = AspanConfig(
    backbone=NANO.backbone,
    aggregation=SpanConfig(blocks=1, head_dim=8, samples=2),
    matching=NANO.matching,
    fine=NANO.fine,
    train_side=96,
)


@pytest.fixture(scope="module")
def images(make_images):
    """Image 1 is image 0 moved by a cell and a half to the left."""
    image = np.asarray(make_images(0, (1, 64, 108))[0, ..., 0])
    return image[:60, :90], image[:, 12:]


def test_a_model_with_flow_heads_says_of_every_cell_where_it_lies(images):
    params = Params(random_variables(SPANS), SPANS)
    flow = astr_jax.flow(params, *images, resize=96)
    assert flow.points1.shape == (8, 12, 2)
    assert flow.valid.all()
    assert (flow.sigma > 0).all()
    np.testing.assert_allclose(flow.points0[2, 3], (24, 16))
    refined = astr_jax.flow(params, *images, resize=96, refine=True)
    moved = np.abs(refined.points1 - flow.points1).max(axis=-1)
    assert (moved > 0).mean() > 0.5  # those whose flow leads into the image
    assert moved.max() < 40


def test_of_another_model_the_matches_are_the_flow(nano_config, nano_variables, images):
    params = Params(nano_variables, nano_config)
    flow = astr_jax.flow(params, *images, resize=96, threshold=0.0)
    assert 0 < flow.valid.sum() < flow.valid.size
    np.testing.assert_array_equal(flow.points1[flow.valid] % 8, 0)  # centres of cells
    np.testing.assert_allclose(flow.sigma, 8 / 12**0.5, rtol=1e-6)
    picture = pixels_of(draw_flow(*images, flow))
    nothing = dataclasses.replace(flow, valid=np.zeros_like(flow.valid))
    assert not np.array_equal(picture, pixels_of(draw_flow(*images, nothing)))


def test_a_batch_has_no_flow(nano_config, nano_variables, images):
    params = Params(nano_variables, nano_config)
    with pytest.raises(ValueError, match="img0 is a batch"):
        astr_jax.flow(params, np.stack([images[1]] * 2), images[1])
