"""Validation measures what a user of the weights gets, always on the same pairs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import astr_jax
from astr_jax.data.homography import HomographyConfig
from astr_jax.data.readers import PosedPairs
from astr_jax.data.worlds import WorldConfig
from astr_jax.ops.scaling import scale_ratio
from astr_jax.params import Params
from astr_jax.supervision import DepthTruth, PairBatch, PlaneTruth
from astr_jax.training import validation, validation_poses
from astr_jax.training.experiment import Experiment, Stage, TrainConfig, ValidationConfig
from astr_jax.training.validation import best_score, make_validation, match_batch
from astr_jax.training.validation_poses import pose_scores, posed_batches, world_batches
from astr_jax.types import Matches

SIZE = (96, 128)
K = np.array([[100.0, 0, 64], [0, 100, 48], [0, 0, 1]], np.float32)
CAM1_FROM_CAM0 = np.array(
    [[0.8, 0, -0.6, 1], [0, 1, 0, 0.1], [0.6, 0, 0.8, 0], [0, 0, 0, 1]], np.float32
)


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (120, 160), dtype=np.uint8) for _ in range(2)]


@pytest.fixture(scope="module")
def experiment(nano_config):
    """One homography and no posed pair; a fine stage."""
    return Experiment(
        name="micro",
        model=nano_config,
        train=TrainConfig(),
        data=HomographyConfig(),
        stages=(Stage(pairs=2, height=SIZE[0], width=SIZE[1], batch_size=2),),
        worlds=WorldConfig(kinds=("planes",), candidates=2, smooth_edges=False),
        validation=ValidationConfig(photo_pairs=1, posed_pairs=0),
    )


class Posed(PosedPairs):
    """Stands for a data set: pairs of noise, whose geometry is always the same."""

    def __init__(self):
        pass

    def stack(self, indices):
        indices = list(indices)
        rng = np.random.default_rng(indices)
        images = rng.integers(0, 256, (2, len(indices), *SIZE), dtype=np.uint8)
        depth = np.ones((len(indices), *SIZE), np.float32)
        mask = np.ones(depth.shape, bool)
        fixed = (np.repeat(m[None], len(indices), 0) for m in (K, K, CAM1_FROM_CAM0))
        tolerance = np.full(len(indices), 0.2, np.float32)
        return PairBatch(*images, mask, mask, DepthTruth(depth, depth, *fixed, tolerance))


def unknown_cameras(batch):
    """The same images, of which no camera is known."""
    seen = np.ones(batch.image0.shape, bool)
    homography = np.repeat(np.eye(3, dtype=np.float32)[None], len(batch), 0)
    return batch.replace(mask0=None, mask1=None, truth=PlaneTruth(homography, seen, seen))


@pytest.fixture(scope="module")
def validated(experiment, photos, nano_variables):
    """With a posed pair, twice: the two results must be one."""
    wanted = dataclasses.replace(experiment.validation, posed_pairs=1)
    experiment = dataclasses.replace(experiment, validation=wanted)
    validate = make_validation(experiment, experiment.stages[0], photos, Posed())
    return [validate(nano_variables) for _ in range(2)]


def test_the_scores_have_their_names_and_lie_in_their_ranges(validated):
    scores = validated[0].scores
    shares = {"precision", "recall", "pose_precision@0.0005"}
    shares |= {f"pose_auc@{degrees}" for degrees in (5, 10, 20)}
    shares |= {f"entropy/block1/head{head}" for head in (1, 2)}
    positive = {"loss", "coarse", "spot", "matches", "fine", "pose_matches"}
    assert shares | positive <= set(scores) <= shares | positive | {"fine_px", "in_sigma"}
    assert all(0 <= scores[name] <= 1 for name in shares)
    assert {name for name in positive if scores[name] <= 0} == set()


def test_the_same_weights_score_the_same_again(validated):
    assert validated[0].scores == validated[1].scores
    np.testing.assert_array_equal(validated[0].picture, validated[1].picture)


def test_the_picture_has_pixels_of_both_verdicts(validated):
    picture = validated[0].picture
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    red, green = (np.array(c) for c in ([240, 71, 111], [61, 220, 151]))  # the bar has both
    for colour in (red, green):
        assert (np.abs(picture.astype(int) - colour).max(axis=-1) < 8).any()


def test_without_posed_pairs_there_is_no_pose_and_nothing_is_rendered(
    experiment, photos, nano_variables, monkeypatch
):
    monkeypatch.setattr(validation_poses, "render_pairs", None)
    found = make_validation(experiment, experiment.stages[0], photos)(nano_variables)
    assert not [name for name in found.scores if name.startswith("pose")]
    assert "entropy/block1/head1" in found.scores


def test_without_homographies_there_is_no_validation(experiment, photos):
    none = dataclasses.replace(experiment, validation=ValidationConfig(photo_pairs=0))
    with pytest.raises(ValueError, match="photo_pairs must be positive; got 0"):
        make_validation(none, none.stages[0], photos)


def test_it_matches_as_users_do(experiment, photos, nano_config, nano_variables):
    batch = unknown_cameras(Posed().stack([1]))
    found, _ = match_batch(nano_variables, batch, model=nano_config, fine=True)
    params = Params(nano_variables, nano_config)
    images = batch.image0[0], batch.image1[0]
    expected = astr_jax.match(params, *images, resize=128, threshold=0.0, scales=1).compact()
    actual = jax.device_get(found)[0].compact()
    assert len(expected) > 5
    for name in ("cell0", "cell1"):
        np.testing.assert_array_equal(getattr(actual, name), getattr(expected, name))
    for name in ("keypoints0", "keypoints1", "confidence", "sigma", "scale"):
        np.testing.assert_allclose(
            getattr(actual, name), getattr(expected, name), atol=1e-3, err_msg=name
        )


def test_a_coarse_stage_is_scored_by_centres_of_cells(nano_config, nano_variables):
    batch = unknown_cameras(Posed().stack([1]))
    found, _ = match_batch(nano_variables, batch, model=nano_config, fine=False)
    matches = jax.device_get(found)[0].compact()
    assert len(matches) > 5
    width = SIZE[1] // 8
    centres = 8 * np.stack([matches.cell1 % width, matches.cell1 // width], axis=-1)
    np.testing.assert_array_equal(matches.keypoints1, centres)


def test_cameras_that_are_not_known_leave_the_ratios_to_the_affine_estimator():
    rng = np.random.default_rng(0)
    points0 = jnp.asarray(rng.uniform(0, 300, (200, 2)), jnp.float32)
    points1, unknown = 1.7 * points0, jnp.full((3, 3), jnp.nan)
    given = points0, points1, jnp.ones(200, bool)
    affine = scale_ratio(*given, estimator="affine", grid=(40, 40))
    key = jax.random.key(0)
    cameras = {"K0": unknown, "K1": unknown, "key": key}
    either = scale_ratio(*given, estimator="pose", grid=(40, 40), **cameras)
    np.testing.assert_allclose(either, affine, rtol=2e-6)
    np.testing.assert_allclose(np.median(affine), 1.7, rtol=1e-3)


def test_exact_matches_find_the_pose_and_a_pair_without_any_counts_as_failed():
    rng = np.random.default_rng(0)
    at0 = rng.uniform([-2, -2, 4], [2, 2, 8], (60, 3))
    at1 = at0 @ CAM1_FROM_CAM0[:3, :3].T + CAM1_FROM_CAM0[:3, 3]
    points = [(p @ K.T)[:, :2] / p[:, 2:] for p in (at0, at1)]
    valid = np.stack([np.ones(60, bool), np.zeros(60, bool)])
    rest = np.zeros(valid.shape)
    twice = [np.stack([p, p]) for p in points]
    covariance, cells = np.zeros((*valid.shape, 2, 2)), rest.astype(int)
    found = Matches(*twice, rest, covariance, rest, cells, cells, valid)
    scores = pose_scores([found], [Posed().stack([0, 1]).truth])
    for degrees in (5, 10, 20):
        assert scores[f"pose_auc@{degrees}"] == pytest.approx(0.5, abs=0.02)
    assert scores["pose_precision@0.0005"] == 0.5
    assert scores["pose_matches"] == 30


def test_pairs_of_a_data_set_are_its_first_ones():
    batches = posed_batches(Posed(), 5, 2)
    assert [len(batch) for batch in batches] == [2, 2, 2]
    np.testing.assert_array_equal(batches[1].image1, Posed().stack([2, 3]).image1)


def test_worlds_are_rendered_in_the_batches_of_the_stage_and_are_always_the_same(
    experiment, photos
):
    first, again = (world_batches(experiment, experiment.stages[0], photos, 5, 3) for _ in range(2))
    assert [len(batch) for batch in first] == [3, 3]
    images = np.concatenate([batch.image0 for batch in first])
    assert images.shape == (6, *SIZE)
    assert len({image.tobytes() for image in images}) == 6
    assert all(batch.truth.cam1_from_cam0.shape == (3, 4, 4) for batch in first)
    jax.tree.map(np.testing.assert_array_equal, first, again)


def test_the_best_checkpoint_is_that_of_the_pose_or_else_of_both_precision_and_recall():
    scores = {"precision": 0.8, "recall": 0.5}
    assert best_score(scores) == pytest.approx(0.4)
    assert best_score(scores | {"pose_auc@10": 0.3}) == 0.3
    assert best_score({}) == 0.0


def test_a_score_that_is_a_number_in_some_steps_is_averaged_over_them():
    rows = [{"a": 1.0, "b": np.nan}, {"a": np.nan, "b": np.inf}, {"a": 3.0, "b": np.nan}]
    assert validation.mean_scores(rows) == {"a": 2.0}


def test_a_score_of_one_kind_of_pairs_alone_is_averaged_over_the_steps_that_have_it():
    rows = [{"a": 1.0}, {"a": 2.0, "wrong": 3.0}, {"a": 3.0, "wrong": 5.0}]
    assert validation.mean_scores(rows) == {"a": 2.0, "wrong": 4.0}
