"""The span model: where it looks, what its flows learn from, and that nothing else had to know."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_models import MICRO, random_variables

from astr_jax.config import AspanConfig, ModelConfig, SpanConfig, from_json, to_json
from astr_jax.models.kinds import network
from astr_jax.params import Params, load_params, read_header, save_params
from astr_jax.supervision import PairBatch, PlaneTruth
from astr_jax.training.batch_losses import ground_truth, loss_and_scores
from astr_jax.training.coarse_losses import flow_losses
from astr_jax.training.experiment import TrainConfig
from astr_jax.training.step import keys_for_step
from astr_jax.types import BlockFlows, CoarseOutput, Flow
from pallas_kernels.sparse_attention import Spans

H, W = 64, 96
CONFIG = AspanConfig(
    backbone=MICRO.backbone,
    aggregation=SpanConfig(blocks=1, head_dim=8, samples=2, least_half=1.0, most_half=3.0),
    matching=MICRO.matching,
    fine=dataclasses.replace(MICRO.fine, zooms=(1.0,)),
    train_side=96,
)


@pytest.fixture(scope="module")
def variables():
    return random_variables(CONFIG)


@pytest.fixture(scope="module")
def batch(make_images):
    """Two pairs; image 1 is image 0 moved by two cells to the left."""
    images = np.asarray(make_images(0, (2, H, W + 16))[..., 0] * 255).astype(np.uint8)
    move = np.tile(np.array([[1, 0, -16], [0, 1, 0], [0, 0, 1]], np.float32), (2, 1, 1))
    seen = np.ones((2, H, W), bool)
    truth = PlaneTruth(move, seen, seen)
    return PairBatch(images[..., :W], images[..., 16:], None, None, truth)


@pytest.fixture(scope="module")
def run(variables, batch):
    """The coarse output, and the gradients of the loss and of the maps alone."""

    @jax.jit
    def everything(params, batch_stats, batch):
        keys = keys_for_step(0, 0, 2)
        config = TrainConfig(flow_weight=1.0)

        def loss(params):
            knobs = {"model_config": CONFIG, "config": config, "fine": False, "train": False}
            return loss_and_scores(params, batch_stats, batch, keys, **knobs)

        net = network(CONFIG)
        images = [x[..., None].astype(jnp.float32) / 255 for x in (batch.image0, batch.image1)]

        def coarse(params):
            given = {"params": params, "batch_stats": batch_stats}
            encode = functools.partial(net.apply, given, method="encode")
            features = [encode(x, m) for x, m in zip(images, batch.masks, strict=True)]
            return net.apply(given, *features, method="coarse")

        def maps(params):
            found = coarse(params)
            return (found.features0**2).sum(), found

        (_, (parts, _)), of_loss = jax.value_and_grad(loss, has_aux=True)(params)
        of_maps, found = jax.grad(maps, has_aux=True)(params)
        return parts, of_loss, found, of_maps

    return everything(variables["params"], variables["batch_stats"], batch)


def test_every_cell_looks_about_its_flow_as_far_as_the_flow_is_unsure(run):
    _, _, coarse, _ = run
    assert len(coarse.flows) == len(coarse.spots) == 1
    for flows, looks in zip(coarse.flows, coarse.spots, strict=True):
        for flow, look in zip(flows, looks, strict=True):
            np.testing.assert_allclose(look.centres, flow.points / 8, rtol=1e-5)
            halves = np.clip(2 * np.exp(flow.log_variance / 2) / 8, 1.0, 3.0)
            np.testing.assert_allclose(look.halves, halves, rtol=1e-4)
            assert look.samples == 2


def test_what_steers_attention_learns_from_its_own_loss_alone(run):
    _, of_loss, _, of_maps = run
    assert all((x == 0).all() for x in jax.tree.leaves(of_maps["aggregation"]["flow8_0"]))
    out = of_loss["aggregation"]["flow8_0"]["out"]["kernel"]
    assert np.abs(out[:, :2]).max() > 0  # the means
    assert np.abs(out[:, 2:]).max() > 0  # the deviations
    assert np.abs(of_maps["aggregation"]["spot8_0"]["q"]["kernel"]).max() > 0


def test_the_loss_of_flows_is_the_likelihood_of_the_true_places(run):
    parts, of_loss, coarse, _ = run
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(of_loss))
    assert "spot" not in parts
    x = np.tile(np.arange(W // 8) * 8.0, H // 8)
    y = np.repeat(np.arange(H // 8) * 8.0, W // 8)
    losses = []
    for flows in coarse.flows:
        for flow, move in zip(flows, (-16.0, 16.0), strict=True):
            true = np.stack([x + move, y], axis=-1)
            seen = (true[:, 0] >= -0.5) & (true[:, 0] <= W - 0.5)
            error = (np.asarray(flow.points, float) - true) / 8
            log_variance = np.asarray(flow.log_variance, float) - 2 * np.log(8)
            each = (error**2 / np.exp(log_variance) + log_variance) / 2
            losses.append(each[:, seen].sum(axis=-1).mean())
    np.testing.assert_allclose(parts["flow"], np.mean(losses), rtol=1e-4)
    assert set(parts) >= {"flow_px1", "flow_in_sigma1", "coarse", "recall"}


def test_the_recall_of_a_look_is_the_share_of_true_partners_within_it(batch, rng):
    height, width = H // 8, W // 8
    n, truth = height * width, jax.jit(ground_truth)(batch.truth)
    true1, true0 = (np.asarray(x) for x in (truth.points1, truth.points0))
    places = (true1 + rng.normal(size=true1.shape) * 6).astype(np.float32)
    spread = np.zeros((2, n, 2), np.float32)
    flows = BlockFlows(Flow(places, spread), Flow(true0, spread))
    masks = jnp.ones((2, n), bool), jnp.ones((2, n), bool)
    grid, halves = (height, width), jnp.full((2, n, 2), 0.5)
    look = Spans(jnp.asarray(places / 8), halves, *masks, grid, grid, samples=2)
    maps = jnp.zeros((2, n, 4)), jnp.zeros((2, n, 4))
    coarse = CoarseOutput(*maps, *masks, None, (flows,), ((look, look),))
    parts = jax.jit(flow_losses)(coarse, truth)

    found = []
    for b, i in zip(*np.nonzero(truth.cell1 >= 0), strict=True):
        off = np.array([i % width - 2, i // width]) - places[b, i] / 8
        ends = np.minimum(np.abs(off - 0.5), np.abs(off + 0.5))
        found.append((ends < 1).all())  # of two samples along a side, one is near
    assert 0.3 < np.mean(found) < 1
    np.testing.assert_allclose(parts["look_recall1"], np.mean(found), atol=1e-6)
    off = np.linalg.norm(places - true1, axis=-1)[np.asarray(truth.visible)]
    np.testing.assert_allclose(parts["flow_px1"], np.median(off), rtol=1e-5)


def test_both_rules_run_and_supervise_matrices_beside_flows(variables, batch):
    both = SpanConfig(
        blocks=2,
        head_dim=8,
        samples=0,
        reach=1,
        spots=True,
        self_attention=True,
        supporters=1,
        window=3,
    )
    config = dataclasses.replace(CONFIG, aggregation=both)
    images = jax.ShapeDtypeStruct((1, H, W, 1), jnp.float32)
    mask = jax.ShapeDtypeStruct((1, H, W), bool)

    def coarse(key, image, mask):
        net = network(config)
        given = net.init(key, image, image, mask, mask)
        features = net.apply(given, image, mask, method="encode")
        return net.apply(given, features, features, method="coarse")

    found = jax.eval_shape(coarse, jax.random.key(0), images, mask)
    kinds = [type(part).__name__ for part in found.supervised]
    assert kinds == ["BlockFlows", "BlockMatrices"] * 2
    assert len(found.spot_matrices) == len(found.flows) == 2
    slots = jax.eval_shape(jax.vmap(lambda look: look.lists().cells), found.spots[0][0]).shape[-1]
    assert slots == 2 * 3**2 + 3**2


def test_a_weights_file_names_its_kind(tmp_path, variables):
    path = tmp_path / "spans.safetensors"
    save_params(path, Params(variables, CONFIG))
    assert read_header(path).config == CONFIG
    assert type(load_params(path).config) is AspanConfig
    assert '"kind"' in to_json(CONFIG)
    assert '"kind"' not in to_json(MICRO)
    assert type(from_json(ModelConfig, to_json(MICRO))) is ModelConfig


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpanConfig(least_half=3.0, most_half=2.0), "least_half <= most_half"),
        (lambda: SpanConfig(samples=-1), "must not be negative"),
        (lambda: SpanConfig(spots=True), "spots and samples exclude each other"),
        (lambda: AspanConfig(kind="astr"), "kind of a span model is 'aspan'"),
        (lambda: from_json(ModelConfig, '{"kind": "other"}'), "no kind of model 'other'"),
    ],
)
def test_a_span_configuration_refuses_nonsense(make, message):
    with pytest.raises(ValueError, match=message):
        make()
