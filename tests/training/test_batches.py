import dataclasses
import functools
import itertools

import jax
import numpy as np
import pytest

from astr_jax.data.homography import HomographyConfig
from astr_jax.data.readers import PosedDataset, PosedPair, PosedPairs
from astr_jax.data.readers.views import View
from astr_jax.supervision import DepthTruth, LayersTruth, PlaneTruth
from astr_jax.training import batches
from astr_jax.training.batch_losses import loss_and_scores
from astr_jax.training.batches import Batches, hold_back
from astr_jax.training.devices import data_mesh
from astr_jax.training.experiment import Experiment, Stage, TrainConfig
from astr_jax.training.step import keys_for_step

STAGE = Stage(pairs=64, height=64, width=96, batch_size=2)
K = np.array([[90.0, 0, 48], [0, 90, 32], [0, 0, 1]])


@pytest.fixture(scope="module", autouse=True)
def small_atlas():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "TEXTURE_SIDE", 32)
        yield


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (120, 160), dtype=np.uint8) for _ in range(3)]


def draw(experiment, photos, start, count):
    """The batches of so many steps."""
    batches = Batches(
        experiment, STAGE, data_mesh(jax.devices()[:1]), lambda step: 0.5, photos=photos
    )
    with batches.ahead(start, num_threads=1) as ahead:
        return list(itertools.islice(ahead, count))


@pytest.fixture(scope="module")
def experiment(nano_config):
    return Experiment(
        name="mixed",
        model=nano_config,
        train=TrainConfig(),
        data=HomographyConfig(),
        stages=(STAGE,),
        worlds_share=0.5,
    )


@pytest.fixture(scope="module")
def mixed(experiment, photos):
    return draw(experiment, photos, 0, 8)


def test_a_batch_is_of_worlds_or_of_homographies_as_the_share_says(experiment, photos, mixed):
    worlds = [isinstance(batch.truth, DepthTruth) for batch in mixed]
    assert 0 < sum(worlds) < len(worlds)
    for batch in mixed:
        assert isinstance(batch.truth, DepthTruth | PlaneTruth)
        assert batch.image0.shape == batch.image1.shape == (2, 64, 96)
    plain = dataclasses.replace(experiment, worlds_share=0.0)
    assert all(isinstance(b.truth, PlaneTruth) for b in draw(plain, photos, 0, 4))


def test_a_run_that_goes_on_sees_the_batches_it_would_have_seen(experiment, photos, mixed):
    for again, before in zip(draw(experiment, photos, 3, 3), mixed[3:6], strict=True):
        jax.tree.map(np.testing.assert_array_equal, again, before)


def test_worlds_train_the_whole_model(experiment, nano_variables, mixed):
    batch = next(batch for batch in mixed if isinstance(batch.truth, DepthTruth))
    scores = jax.jit(
        functools.partial(
            loss_and_scores,
            model_config=experiment.model,
            config=experiment.train,
            fine=True,
            train=True,
        )
    )
    given = nano_variables["params"], nano_variables["batch_stats"], batch
    loss, (parts, _) = scores(*given, keys_for_step(0, 0, 2))
    assert np.isfinite(loss)
    for name in ("coarse", "spot", "fine"):
        assert parts[name] > 0


def test_several_devices_render_the_pairs_that_one_does(experiment, photos, mixed):
    step = next(k for k, batch in enumerate(mixed) if isinstance(batch.truth, DepthTruth))
    mesh = data_mesh(jax.devices()[:2])
    both = Batches(experiment, STAGE, mesh, lambda step: 0.5, photos=photos).batch(step)
    assert len(both.image0.addressable_shards) == 2
    close = functools.partial(np.testing.assert_allclose, atol=1)
    jax.tree.map(close, both, mixed[step])


class TenScenes(PosedDataset):
    def read_scene(self, scene):
        views = [View(f"{scene}{k}", np.full((64, 96), k, np.uint8), K) for k in range(3)]
        return [PosedPair(scene, views[k], views[k], np.eye(4)) for k in range(3)]


def test_real_pairs_are_read_by_their_number(experiment, photos):
    real = dataclasses.replace(experiment, worlds_share=0.0, posed_share=1.0, per_scene=3)
    posed = PosedPairs(TenScenes([str(k) for k in range(10)]), (64, 96), per_scene=3, seed=0)
    batches = Batches(real, STAGE, data_mesh(jax.devices()[:1]), lambda step: 0.5, posed=posed)
    jax.tree.map(np.testing.assert_array_equal, batches.batch(7), posed.stack(range(14, 16)))
    with pytest.raises(ValueError, match="name the data set with depth by --posed"):
        Batches(real, STAGE, data_mesh(jax.devices()[:1]), lambda step: 0.5)


def test_lifted_photographs_take_their_share_and_fit_the_losses(experiment, photos, nano_variables):
    train = dataclasses.replace(experiment.train, wrong_weight=1.0, soft_labels=True)
    lifted = dataclasses.replace(experiment, worlds_share=0.0, lifted_share=1.0, train=train)
    (batch,) = draw(lifted, photos, 0, 1)
    assert isinstance(batch.truth, LayersTruth)
    assert batch.image0.shape == batch.truth.layer1.shape == (2, 64, 96)
    given = nano_variables["params"], nano_variables["batch_stats"], batch
    losses = functools.partial(
        loss_and_scores, model_config=lifted.model, config=train, fine=True, train=True
    )
    loss, (parts, _) = jax.eval_shape(losses, *given, keys_for_step(0, 0, 2))
    assert loss.shape == parts["wrong"].shape == ()


@pytest.mark.parametrize(("count", "held"), [(1, 0), (2, 1), (19, 1), (40, 2), (368, 18)])
def test_every_twentieth_scene_is_held_back(count, held):
    scenes = [str(k) for k in range(count)]
    train, validation = hold_back(TenScenes(scenes))
    kept = validation.scenes if validation else ()
    assert len(kept) == held
    assert sorted([*train.scenes, *kept]) == sorted(scenes)


@pytest.mark.parametrize("shares", [(2, 0), (-0.1, 0), (0.6, 0.6)])
def test_shares_that_are_no_shares_are_refused(experiment, shares):
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], and their sum; got"):
        dataclasses.replace(experiment, worlds_share=shares[0], posed_share=shares[1])
