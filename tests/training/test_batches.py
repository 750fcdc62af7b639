import dataclasses
import functools
import itertools

import jax
import numpy as np
import pytest

from astr_jax.data.homography import HomographyConfig
from astr_jax.training import batches
from astr_jax.training.batches import make_batches
from astr_jax.training.experiment import Experiment, Stage, TrainConfig
from astr_jax.training.step import keys_for_step, loss_and_scores

STAGE = Stage(pairs=64, height=64, width=96, batch_size=2)


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
    with make_batches(experiment, STAGE, photos, start, lambda step: 0.5, num_threads=1) as made:
        return list(itertools.islice(made, count))


@pytest.fixture(scope="module")
def experiment(micro_config):
    return Experiment(
        name="mixed",
        model=micro_config,
        train=TrainConfig(),
        data=HomographyConfig(),
        stages=(STAGE,),
        worlds_share=0.5,
    )


@pytest.fixture(scope="module")
def mixed(experiment, photos):
    return draw(experiment, photos, 0, 8)


def test_a_batch_is_of_worlds_or_of_homographies_as_the_share_says(experiment, photos, mixed):
    kinds = ["T_0to1" in batch for batch in mixed]
    assert 0 < sum(kinds) < len(kinds)
    for batch in mixed:
        assert ("H_0to1" in batch) != ("T_0to1" in batch)
        assert batch["image0"].shape == batch["image1"].shape == (2, 64, 96)
    plain = dataclasses.replace(experiment, worlds_share=0.0)
    assert all("H_0to1" in batch for batch in draw(plain, photos, 0, 4))


def test_a_run_that_goes_on_sees_the_batches_it_would_have_seen(experiment, photos, mixed):
    for again, before in zip(draw(experiment, photos, 3, 3), mixed[3:6], strict=True):
        jax.tree.map(np.testing.assert_array_equal, again, before)


def test_worlds_train_the_whole_model(experiment, micro_variables, mixed):
    batch = next(batch for batch in mixed if "T_0to1" in batch)
    scores = jax.jit(
        functools.partial(
            loss_and_scores,
            model_config=experiment.model,
            config=experiment.train,
            fine=True,
            train=True,
        )
    )
    given = micro_variables["params"], micro_variables["batch_stats"], batch
    loss, (parts, _) = scores(*given, keys_for_step(0, 0, 2))
    assert np.isfinite(loss)
    for name in ("coarse", "spot", "fine"):
        assert parts[name] > 0


def test_a_share_outside_0_to_1_is_refused(experiment):
    with pytest.raises(ValueError, match=r"worlds_share must lie in \[0, 1\]; got 2"):
        dataclasses.replace(experiment, worlds_share=2)
