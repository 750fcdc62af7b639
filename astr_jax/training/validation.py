"""Scores of a run's averaged weights on held-back photographs and on pairs with known pose."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PyTree, UInt8

from astr_jax.config import ModelConfig
from astr_jax.data.homography import HomographyPairs
from astr_jax.instruments.attention_entropy import coarse_with_entropy
from astr_jax.matching import stages
from astr_jax.models.kinds import network
from astr_jax.ops.grids import COARSE_STRIDE
from astr_jax.params import Params
from astr_jax.supervision import PairBatch
from astr_jax.training.batch_losses import encode_both, loss_and_scores
from astr_jax.training.experiment import Experiment, Stage, TrainConfig
from astr_jax.training.step import keys_for_step
from astr_jax.training.validation_poses import pose_scores, posed_batches, world_batches
from astr_jax.types import Matches
from astr_jax.viz import draw_matches, pixels_of
from pallas_kernels.arrays import Array

SEED = 12345  # of the homographies
BATCH = 8  # pairs, at most
DIFFICULTY = 0.5
RIGHT_PX = 3.0  # a match is drawn green up to it


@dataclasses.dataclass(frozen=True)
class Validated:
    """What a validation found."""

    scores: dict[str, float]
    picture: UInt8[np.ndarray, "h w 3"]  # one pair and its matches: green is right, red is wrong


def make_validation(
    experiment: Experiment, stage: Stage, photos: Sequence[np.ndarray], posed=None
) -> Callable[[PyTree], Validated]:
    """Returns validate(variables) -> scores and a picture, on pairs that never change.

    photos: held-back photographs, for homographies, and for worlds where `posed` is None. posed:
    held-back pairs with depth and pose, which take the place of homographies where there are no
    photographs. Raises ValueError where there is neither. Numbers of pairs are rounded up to whole
    batches. variables: {"params", "batch_stats"}, on one device. The scores:

    - those of a training step, as means over homographies;
    - entropy/block1/head1, ...: of the spot attention, as a share of the highest one;
    - pose_auc@5, @10, @20, pose_precision@0.0005 and pose_matches, by OpenCV's MAGSAC++.
      Without a fine stage the matches are pairs of cell centres.
    """
    wanted = experiment.validation
    if wanted.photo_pairs < 1:
        raise ValueError(f"validation.photo_pairs must be positive; got {wanted.photo_pairs}.")
    at_once = int(BATCH * 640 * 480 / (stage.height * stage.width))
    size = max(1, min(BATCH, wanted.photo_pairs, at_once))
    rows = [range(first, first + size) for first in range(0, wanted.photo_pairs, size)]
    if len(photos):
        data = HomographyPairs(photos, experiment.data_config(stage), SEED)
        batches = [data.stack(indices, DIFFICULTY) for indices in rows]
    elif posed is not None:
        batches = [posed.stack(indices) for indices in rows]
    else:
        raise ValueError(
            "There is nothing to validate on: give photographs too, or two scenes or more."
        )
    if wanted.posed_pairs < 1:
        posed_pairs = []
    elif posed is None:
        posed_pairs = world_batches(experiment, stage, photos, wanted.posed_pairs, size)
    else:
        posed_pairs = posed_batches(posed, wanted.posed_pairs, size)
    of_batch = functools.partial(
        validation_scores, model=experiment.model, config=experiment.train, fine=stage.fine
    )
    match = functools.partial(match_batch, model=experiment.model, fine=stage.fine)

    def validate(variables: PyTree) -> Validated:
        given = variables["params"], variables["batch_stats"]
        scores = mean_scores([of_batch(*given, batch) for batch in batches])
        matches, entropy = match(variables, batches[0])
        scores |= named_entropies(entropy)
        if posed_pairs:
            found = [jax.device_get(match(variables, batch)[0]) for batch in posed_pairs]
            scores |= pose_scores(found, [batch.truth for batch in posed_pairs])
        return Validated(scores, draw_pair(batches[0], matches, stage.fine))

    return validate


def best_score(scores: dict[str, float]) -> float:
    """The number by which the best checkpoint of a run is kept: the higher the better."""
    if "pose_auc@10" in scores:
        return scores["pose_auc@10"]
    return scores.get("precision", 0.0) * scores.get("recall", 0.0)


@functools.partial(jax.jit, static_argnames=("model", "config", "fine"))
def validation_scores(
    params, batch_stats, batch: PairBatch, *, model: ModelConfig, config: TrainConfig, fine: bool
) -> dict:
    """The losses and scores of a batch, with the same random draws each time."""
    keys = keys_for_step(0, jnp.zeros((), jnp.int32), len(batch))
    given = params, batch_stats, batch, keys, model, config
    _, (scores, _) = loss_and_scores(*given, fine=fine, train=False)
    return scores


def mean_scores(scores: list[dict]) -> dict[str, float]:
    """Means over steps of the scores that are numbers; a score that never is one is left out, and
    the steps of some kinds of pairs lack some scores."""
    scores = jax.device_get(scores)
    names = dict.fromkeys(name for s in scores for name in s)
    values = {name: np.array([s[name] for s in scores if name in s]) for name in names}
    return {
        name: float(v[np.isfinite(v)].mean()) for name, v in values.items() if np.isfinite(v).any()
    }


@functools.partial(jax.jit, static_argnames=("model", "fine"))
def match_batch(
    variables: PyTree, batch: PairBatch, *, model: ModelConfig, fine: bool
) -> tuple[Matches, Float[Array, "b blocks heads"]]:
    """Matches a batch as `match` does, in pixels of its images, and the entropies of the heads.

    The scale ratio comes from the pose, where the truth knows the cameras. Without `fine` the
    points are centres of cells.
    """
    params = Params(variables, model)
    features0, features1, _ = encode_both(network(model), variables, batch, train=False)
    coarse, entropy = coarse_with_entropy(model, variables, features0, features1)
    least = model.matching.threshold
    cells = stages.pick(params, coarse, features0, features1, threshold=least)
    if not fine:
        return stages.unrefined(cells, features0, features1), entropy
    K0, K1 = batch.truth.intrinsics()
    given = features0, features1
    ratio = stages.scale_ratios(cells, *given, K0, K1, estimator="pose")
    return stages.refine(params, *given, *coarse.maps, cells, ratio), entropy


def named_entropies(entropy: Float[Array, "b blocks heads"]) -> dict[str, float]:
    """Means over pairs, named entropy/block1/head1 and so on."""
    mean = np.asarray(entropy).mean(axis=0)
    return {
        f"entropy/block{block + 1}/head{head + 1}": float(value)
        for (block, head), value in np.ndenumerate(mean)
        if np.isfinite(value)
    }


def draw_pair(batch: PairBatch, matches: Matches, fine: bool) -> UInt8[np.ndarray, "h w 3"]:
    """The first pair of a batch with its matches; those of cell centres are right up to the side
    of a cell."""
    pair, found = jax.device_get(batch[0]), jax.device_get(matches)[0].compact()
    truth, _ = pair.truth.locate(found.keypoints0)
    error = np.linalg.norm(np.asarray(truth) - found.keypoints1, axis=-1)
    right = RIGHT_PX if fine else float(COARSE_STRIDE)
    return pixels_of(draw_matches(pair.image0, pair.image1, found, error=error, right=right))
