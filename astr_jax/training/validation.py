"""Scores of a run's averaged weights on held-back photographs and on pairs with known pose."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree, UInt8

from astr_jax.config import ModelConfig
from astr_jax.data.homography import HomographyPairs
from astr_jax.evaluation.scores import metrics
from astr_jax.instruments.attention_entropy import coarse_with_entropy
from astr_jax.model.astr import ASTR, coarse_matches
from astr_jax.ops.grids import COARSE_STRIDE, cell_centres
from astr_jax.ops.scaling import scale_ratio
from astr_jax.supervision import warp_by_depth
from astr_jax.training.experiment import Experiment, Stage, TrainConfig
from astr_jax.training.step import encode_both, keys_for_step, loss_and_scores
from astr_jax.training.validation_poses import Batch, pose_scores, posed_batches, world_batches
from astr_jax.types import Matches
from astr_jax.viz import draw_matches, pixels_of

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
        matches, entropy = match(variables, to_match(batches[0]))
        scores |= named_entropies(entropy)
        if posed_pairs:
            found = [jax.device_get(match(variables, batch)[0]) for batch in posed_pairs]
            scores |= pose_scores(found, posed_pairs)
        return Validated(scores, draw_pair(batches[0], matches, stage.fine))

    return validate


def best_score(scores: dict[str, float]) -> float:
    """The number by which the best checkpoint of a run is kept: the higher the better."""
    if "pose_auc@10" in scores:
        return scores["pose_auc@10"]
    return scores.get("precision", 0.0) * scores.get("recall", 0.0)


@functools.partial(jax.jit, static_argnames=("model", "config", "fine"))
def validation_scores(
    params, batch_stats, batch: dict, *, model: ModelConfig, config: TrainConfig, fine: bool
) -> dict:
    """The losses and scores of a batch, with the same random draws each time."""
    keys = keys_for_step(0, jnp.zeros((), jnp.int32), batch["image0"].shape[0])
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
    variables: PyTree, batch: dict, *, model: ModelConfig, fine: bool
) -> tuple[Matches, Float[Array, "b blocks heads"]]:
    """Matches a batch as `match` does, in pixels of its images, and the entropies of the heads.

    batch: image0, image1, mask0, mask1, and K0, K1, NaN where they are not known. Without `fine`
    the points of image 1 are centres of cells.
    """
    astr = ASTR(model)
    f0, f1, _ = encode_both(astr, variables, batch, train=False)
    coarse, entropy = coarse_with_entropy(model, variables, f0, f1)
    found = coarse_matches(coarse, f0.mask8, f1.mask8, model, coarse.mask0.shape[1])
    points0, points1 = (
        cell_centres(cells, f.mask8.shape[2], COARSE_STRIDE)
        for cells, f in ((found.cell0, f0), (found.cell1, f1))
    )

    def refine(pair):
        """One pair at a time: memory does not grow with their number."""
        (f0, f1, found), coarse, (points0, points1, K0, K1) = pair
        key = jax.random.key(0)
        given = points0, points1, found.valid
        ratio = scale_ratio(*given, estimator="pose", K0=K0, K1=K1, cell=COARSE_STRIDE, key=key)
        alone = jax.tree.map(lambda x: x[None], (f0, f1, coarse, found, ratio))
        out = astr.apply(variables, *alone, method="fine")
        return out.points1[0], out.sigma[0], ratio

    sigma, ratio = jnp.full(found.cell0.shape, COARSE_STRIDE / 12**0.5), jnp.ones(found.cell0.shape)
    if fine:
        light = coarse.replace(matrix=None, spot_matrices=(), spots=())
        cameras = batch["K0"], batch["K1"]
        points1, sigma, ratio = jax.lax.map(
            refine, ((f0, f1, found), light, (points0, points1, *cameras))
        )
    return Matches(
        keypoints0=points0,
        keypoints1=points1,
        confidence=found.confidence,
        sigma=sigma,
        scale=ratio,
        cell0=found.cell0,
        cell1=found.cell1,
        valid=found.valid,
    ), entropy


def to_match(batch: Batch) -> Batch:
    """Any batch as match_batch takes it: with masks, and with intrinsics, unknown or not."""
    unknown = np.full((len(batch["image0"]), 3, 3), np.nan, np.float32)
    images = {name: batch[name] for name in ("image0", "image1")}
    masks = {f"mask{i}": np.ones(images[f"image{i}"].shape, bool) for i in (0, 1)}
    full = masks | {"K0": unknown, "K1": unknown} | batch
    return {name: full[name] for name in (*images, *masks, "K0", "K1")}


def named_entropies(entropy: Float[Array, "b blocks heads"]) -> dict[str, float]:
    """Means over pairs, named entropy/block1/head1 and so on."""
    mean = np.asarray(entropy).mean(axis=0)
    return {
        f"entropy/block{block + 1}/head{head + 1}": float(value)
        for (block, head), value in np.ndenumerate(mean)
        if np.isfinite(value)
    }


def draw_pair(batch: Batch, matches: Matches, fine: bool) -> UInt8[np.ndarray, "h w 3"]:
    """The first pair of a batch with its matches; those of cell centres are right up to the side
    of a cell."""
    pair = jax.device_get(matches)[0].compact()
    truth = true_points1({name: value[0] for name, value in batch.items()}, pair.keypoints0)
    error = np.linalg.norm(truth - pair.keypoints1, axis=-1)
    right = RIGHT_PX if fine else float(COARSE_STRIDE)
    return pixels_of(
        draw_matches(batch["image0"][0], batch["image1"][0], pair, error=error, right=right)
    )


def true_points1(pair: Batch, points0: Float[np.ndarray, "k 2"]) -> Float[np.ndarray, "k 2"]:
    """Where points of image 0 lie in image 1, by the homography of a pair or by its depth; far
    away where that is not known."""
    if "H_0to1" in pair:
        return metrics.warp_points(pair["H_0to1"].astype(float), points0)
    x, y = np.rint(points0).astype(int).T
    given = pair["depth0"][y, x], pair["K0"], pair["K1"], pair["T_0to1"]
    return np.asarray(warp_by_depth(points0, *given)[0])
