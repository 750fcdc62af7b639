import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from astr_jax.model.astr import ASTR
from astr_jax.ops.matching import DualSoftmax, log_prob_at
from astr_jax.supervision import PairBatch, PlaneTruth
from astr_jax.supervision.sampling import random_share
from astr_jax.training.batch_losses import encode_both, loss_and_scores
from astr_jax.training.experiment import TrainConfig
from astr_jax.training.step import keys_for_step

B, HEIGHT, WIDTH = 2, 96, 96
ALL = TrainConfig(soft_labels=True, fine_loss="likelihood", start_jitter=3.0, anywhere=0.5)


@pytest.fixture(scope="module")
def gradient(micro_config):
    """gradient(variables, batch) -> (loss, parts, gradient), all stages trained."""
    differentiate = jax.value_and_grad(
        functools.partial(
            loss_and_scores, model_config=micro_config, config=ALL, fine=True, train=True
        ),
        has_aux=True,
    )
    compiled = jax.jit(differentiate)

    def run(variables, batch):
        keys = keys_for_step(0, 0, B)
        given = variables["params"], variables["batch_stats"], batch, keys
        (loss, (parts, batch_stats)), slope = compiled(*given)
        assert all(np.isfinite(x).all() for x in jax.tree.leaves((slope, batch_stats)))
        return float(loss), parts, slope

    return run


@pytest.fixture
def batch(make_images):
    """Two pairs: image 1 is image 0 moved by whole cells."""
    wide = np.asarray(make_images(4, (B, HEIGHT, WIDTH + 16)))[..., 0]
    seen = np.ones((B, HEIGHT, WIDTH), bool)
    moved = np.eye(3, dtype=np.float32)
    moved[0, 2] = -16
    images = np.uint8(255 * wide[:, :, :WIDTH]), np.uint8(255 * wide[:, :, 16:])
    return PairBatch(*images, seen, seen, PlaneTruth(np.stack([moved, moved]), seen, seen))


def with_truth(batch, **changes):
    return batch.replace(truth=batch.truth.replace(**changes))


def test_the_loss_is_the_sum_of_its_three_parts(gradient, micro_variables, batch):
    loss, parts, slope = gradient(micro_variables, batch)
    for name in ("coarse", "spot"):
        assert parts[name] > 0
    expected = parts["coarse"] + parts["spot"] + 0.1 * parts["place"] + parts["fine"]
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    assert 0 <= parts["spot_recall2"] <= 1
    for name, part in slope.items():
        assert max(np.abs(x).max() for x in jax.tree.leaves(part)) > 0, name


def focal(log_prob, used):
    """The mean of -0.25 (1 - P)^2 log P, in float64."""
    log_prob = np.asarray(log_prob, np.float64)[used]
    return (-0.25 * (1 - np.exp(log_prob)) ** 2 * np.maximum(log_prob, np.log(1e-6))).mean()


@pytest.fixture(scope="module")
def losses_and_matrices(micro_config, micro_variables):
    """losses_and_matrices(batch) -> the parts of the loss, by the paper's labels and by soft ones;
    P of the final features; and those of each block. All by one program."""
    model, keys = ASTR(micro_config), keys_for_step(0, 0, B)
    configs = TrainConfig(), TrainConfig(coarse_share=1.0, soft_labels=True)

    @jax.jit
    def run(variables, batch):
        given = variables["params"], variables["batch_stats"], batch, keys, micro_config
        parts = [loss_and_scores(*given, c, fine=False, train=True)[1][0] for c in configs]
        f0, f1, _ = encode_both(model, variables, batch, train=True)
        coarse = model.apply(variables, f0, f1, method="coarse")
        return parts, coarse.matrix, coarse.spot_matrices

    return functools.partial(run, micro_variables)


def test_a_random_half_of_the_truth_supervises_every_matrix_in_both_directions(
    losses_and_matrices, batch
):
    """By default, as in the paper. Fails where all of the truth supervises, and where a spot
    loss knows one direction only."""
    (parts, _), matrix, ((dense, _), (forward, backward)) = losses_and_matrices(batch)
    truth = jax.vmap(PlaneTruth.ground_truth)(batch.truth)
    share = functools.partial(random_share, share=0.5)
    keys = keys_for_step(0, 0, B)
    drawn = np.asarray(jax.vmap(share)(keys["coarse"], truth.cell1 >= 0))
    assert drawn.sum() == sum(math.ceil(n / 2) for n in (truth.cell1 >= 0).sum(axis=1))
    cells = np.broadcast_to(np.arange(drawn.shape[1]), drawn.shape)
    there, back = (cells, truth.cell1), (truth.cell1, cells)

    def loss(matrix, pair):
        log_prob, held = jax.vmap(log_prob_at)(matrix, *map(jnp.asarray, pair))
        return focal(log_prob, drawn & np.asarray(held))

    np.testing.assert_allclose(parts["coarse"], loss(matrix, there), rtol=1e-4)
    first = jax.tree.map(jnp.asarray, parts["spot"]) * 2  # both blocks count alike
    second = (loss(forward, there) + loss(backward, back)) / 2
    one_way = abs(loss(forward, there) - loss(backward, back))
    assert one_way > 1e-3 * second
    np.testing.assert_allclose(first - second, loss(dense, there), rtol=1e-3)


def test_the_soft_truth_of_a_cell_is_the_cells_about_its_point(losses_and_matrices, batch):
    """Image 1 is image 0 moved by a quarter of a cell and half a cell: the mass is that of four
    cells, weighed 3/8, 3/8, 1/8, 1/8. Fails where one direction is left out."""
    moved = np.eye(3, dtype=np.float32)
    moved[:2, 2] = -14, 4
    batch = with_truth(batch, homography=np.stack([moved] * B))
    (_, parts), matrix, _ = losses_and_matrices(batch)
    side, n = WIDTH // 8, HEIGHT * WIDTH // 64
    masses, places = [], []
    for p in (matrix, jax.vmap(DualSoftmax.transposed)(matrix)):
        sim = np.einsum("bnc,bmc->bnm", *(np.float64(x) for x in (p.scaled0, p.scaled1)))
        share = np.exp(sim - np.float64(p.lse0)[..., None])
        forth = p is matrix
        mass, place = [], []
        for cell in range(n):
            y, x = divmod(cell, side)
            point = np.array([x - 14 / 8, y + 0.5] if forth else [x + 14 / 8, y - 0.5])
            weights = {}
            for row in range(side):
                for column in range(side):
                    weight = np.maximum(1 - np.abs(point - (column, row)), 0).prod()
                    if weight:
                        weights[row * side + column] = weight
            inside = np.round(8 * point) == np.clip(np.round(8 * point), 0, HEIGHT - 1)
            if inside.all() and sum(weights.values()) > 0.5:
                w = np.array(list(weights.values())) / sum(weights.values())
                some = share[:, :, list(weights)][:, cell]  # [b s]
                mass.append(some.sum(axis=-1))
                among = some / some.sum(axis=-1, keepdims=True)
                place.append((w * np.log(w / among)).sum(axis=-1))
        masses.append(focal(np.log(np.array(mass)), slice(None)))
        places.append(np.mean(place))
    np.testing.assert_allclose(parts["coarse"], sum(masses), rtol=1e-3)
    np.testing.assert_allclose(parts["place"], np.mean(places), rtol=1e-3)


def test_following_the_gradient_lowers_the_loss(gradient, micro_variables, batch):
    first, _, slope = gradient(micro_variables, batch)
    variables, losses = micro_variables, []
    for _ in range(8):
        norm = math.sqrt(sum(float((g**2).sum()) for g in jax.tree.leaves(slope)))
        params = jax.tree.map(lambda p, g, n=norm: p - 0.05 * g / n, variables["params"], slope)
        variables = variables | {"params": params}
        loss, _, slope = gradient(variables, batch)
        losses.append(loss)
    assert min(losses) < 0.9 * first


def test_without_a_true_match_the_loss_is_zero_and_its_gradient_finite(
    gradient, micro_variables, batch
):
    away = np.eye(3, dtype=np.float32)
    away[0, 2] = 1e4
    blind = np.zeros((B, HEIGHT, WIDTH), bool)
    for change in ({"homography": np.stack([away] * B)}, {"visible1": blind}):
        loss, parts, _ = gradient(micro_variables, with_truth(batch, **change))
        assert loss == 0
        assert parts["recall"] == 0


def test_wrong_matches_are_held_against_the_model(nano_config, nano_variables, batch):
    """Nothing of image 0 is seen in image 1, so that every match is wrong."""
    hidden = with_truth(batch, visible0=np.zeros((B, HEIGHT, WIDTH), bool))
    differentiate = jax.jit(
        jax.value_and_grad(
            functools.partial(
                loss_and_scores,
                model_config=nano_config,
                config=TrainConfig(wrong_weight=2.0),
                fine=False,
                train=True,
            ),
            has_aux=True,
        )
    )
    given = nano_variables["batch_stats"], hidden, keys_for_step(0, 0, B)
    params = nano_variables["params"]
    (loss, (parts, _)), slope = differentiate(params, *given)
    assert parts["matches"] > 0
    assert loss == 2 * parts["wrong"] > 0
    moved = jax.tree.map(lambda p, g: p - 1e-2 * g / optax.tree.norm(slope), params, slope)
    assert differentiate(moved, *given)[0][0] < loss


@pytest.mark.parametrize("masked", [("mask0",), ("mask1",), ("mask0", "mask1")])
def test_a_fully_masked_image_gives_a_finite_gradient(gradient, micro_variables, batch, masked):
    batch = batch.replace(**dict.fromkeys(masked, np.zeros((B, HEIGHT, WIDTH), bool)))
    loss, parts, _ = gradient(micro_variables, batch)
    assert loss == 0
    assert parts["matches"] == 0


def test_one_masked_image_leaves_the_other_pair_its_loss(gradient, micro_variables, batch):
    mask = np.ones((B, HEIGHT, WIDTH), bool)
    mask[0] = False
    batch = batch.replace(mask0=mask)
    loss, parts, _ = gradient(micro_variables, batch)
    assert loss > 0
    assert parts["spot_recall2"] > 0 or parts["spot"] > 0


@pytest.mark.parametrize("corner", [(0, 0), (-1, -1)])
def test_spots_that_all_lie_in_a_corner_give_a_finite_gradient(
    gradient, micro_variables, batch, corner
):
    # One single cell of image 1 is usable, at the border: it is everybody's match.
    y, x = (8 * np.arange(HEIGHT // 8)[c] for c in corner)
    mask = np.zeros((B, HEIGHT, WIDTH), bool)
    mask[:, y : y + 8, x : x + 8] = True
    batch = with_truth(batch, homography=np.stack([np.eye(3, dtype=np.float32)] * B))
    batch = batch.replace(mask1=mask)
    loss, _, _ = gradient(micro_variables, batch)
    assert loss > 0  # the one true pair supervises


@pytest.mark.parametrize(("size", "seed"), [(5.0, 0), (30.0, 1), (1e-4, 2), (0.0, 3)])
def test_difficult_weights_give_a_finite_gradient(gradient, micro_variables, batch, size, seed):
    rng = np.random.default_rng(seed)

    def difficult(p):
        return np.float32(p + size * rng.standard_t(3, p.shape) if size else 0 * p)

    params = jax.tree.map(difficult, micro_variables["params"])
    loss, _, _ = gradient(micro_variables | {"params": params}, batch)
    assert np.isfinite(loss)


def test_a_view_across_the_horizon_gives_a_finite_gradient(gradient, micro_variables, batch):
    steep = np.array([[1, 0, 0], [0, 1, 0], [-1 / 40, 0.001, 1]], np.float32)
    loss, _, _ = gradient(micro_variables, with_truth(batch, homography=np.stack([steep, -steep])))
    assert np.isfinite(loss)


def test_a_constant_image_gives_a_finite_gradient(gradient, micro_variables, batch):
    for value in (0, 255):
        flat = np.full((B, HEIGHT, WIDTH), value, np.uint8)
        loss, _, _ = gradient(micro_variables, batch.replace(image0=flat, image1=flat))
        assert np.isfinite(loss)


def test_a_step_draws_the_same_numbers_after_a_restart_and_others_in_the_next():
    def numbers(seed, step):
        keys = keys_for_step(seed, jnp.int32(step), 2)
        return {k: np.asarray(jax.random.key_data(v)) for k, v in keys.items()}

    jax.tree.map(np.testing.assert_array_equal, numbers(3, 1000), numbers(3, 1000))
    here, all_keys = numbers(3, 1000), set()
    for other in (numbers(3, 1001), numbers(4, 1000)):
        assert all((here[name] != other[name]).any() for name in here)
    for keys in here.values():
        all_keys |= {tuple(key) for key in keys}
    assert len(all_keys) == 2 * len(here)  # one for each use and pair


def test_padding_does_not_change_the_features_of_a_batch(micro_config, micro_variables, batch):
    encode = jax.jit(functools.partial(encode_both, ASTR(micro_config), train=False))
    pads = (0, 0), (0, 32), (0, 64)
    names = "image0", "image1", "mask0", "mask1"
    wider = batch.replace(**{name: np.pad(getattr(batch, name), pads) for name in names})
    plain, _, _ = encode(micro_variables, batch)
    padded, _, _ = encode(micro_variables, wider)
    cut = padded.coarse8[:, : HEIGHT // 8, : WIDTH // 8]
    np.testing.assert_allclose(cut, plain.coarse8, atol=1e-5)
