"""What a training run is: the model, the data, and a list of stages."""

import dataclasses
import math

import jax.numpy as jnp
from jax.typing import ArrayLike

from astr_jax.config import ModelConfig
from astr_jax.data.homography import HomographyConfig
from astr_jax.data.lifted import LiftedConfig
from astr_jax.data.track_pairs import TracksConfig
from astr_jax.data.worlds import WorldConfig

KINDS = ("worlds", "tracks", "lifted", "posed")  # of pairs; what is left are homographies
FINE_LOSSES = ("paper", "likelihood")
_AT_LEAST_ONE = [
    (name, 1) for name in ("log_every", "validate_every", "milestone_every", "checkpoint_every")
]
_NOT_NEGATIVE = [
    *((f"{part}_weight", 0) for part in ("spot", "flow", "wrong", "place", "fine")),
    *((name, 0) for name in ("warmup_pairs", "warmup_from", "least_learning_rate", "clip")),
    *((name, 0) for name in ("weight_decay", "start_jitter", "ratio_jitter", "ema_decay")),
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """A stretch of training at one image size. Its length is in pairs, so that a batch size or a
    device count changes how fast it runs and not how much it learns from."""

    pairs: int
    height: int = 256
    width: int = 320
    batch_size: int = 16  # pairs of an update of the weights, on all devices together
    micro_batch: int | None = None  # pairs that batch norm sees, on all devices; None: all
    fine: bool = True  # train the fine stage too
    start_difficulty: float = 0.0  # of the pairs, growing linearly over the stage
    end_difficulty: float = 1.0

    def __post_init__(self):
        if self.height % 32 or self.width % 32:
            raise ValueError(f"sides must be multiples of 32; got {self.height} x {self.width}.")
        if min(self.pairs, self.batch_size) < 1:
            raise ValueError(f"pairs and batch_size must be positive; got {self}.")
        if self.batch_size % self.pairs_at_once:
            raise ValueError(
                f"micro_batch must divide batch_size {self.batch_size}; got {self.micro_batch}."
            )

    @property
    def pairs_at_once(self) -> int:
        """The micro-batch: gradients are summed over batch_size // pairs_at_once of them."""
        return self.micro_batch or self.batch_size

    @property
    def parts(self) -> int:
        """Micro-batches of a batch."""
        return self.batch_size // self.pairs_at_once

    @property
    def steps(self) -> int:
        return -(-self.pairs // self.batch_size)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The optimiser and the losses."""

    learning_rate: float = 1e-3  # the peak
    warmup_pairs: int = 3200  # over which the rate rises linearly
    warmup_from: float = 0.01  # share of the peak at the first step
    start_pairs: int = 0  # that the weights of --init have seen: go on there, after a warm-up
    halve_at: tuple[int, ...] = ()  # pairs at which the rate is halved; without any: a cosine
    least_learning_rate: float = 1e-5  # at the end of the cosine
    weight_decay: float = 0.1
    clip: float = 0.5  # global norm of the gradient
    spot_weight: float = 1.0  # of the loss on the blocks' P; the paper states none
    flow_weight: float = 0.1  # of the loss on the blocks' flows, in a model that has them
    wrong_weight: float = 0.0  # of the loss on matches that are surely wrong; 0, as the paper
    soft_labels: bool = False  # the truth: the cells about a point; else the paper's nearest one
    place_weight: float = 0.1  # of the loss on how the softmax divides among the cells of the truth
    fine_weight: float = 1.0
    fine_loss: str = "paper"  # squared distance by the standard deviation; or "likelihood"
    fine_uncertainty: bool = True  # by it the paper's fine loss is weighed
    start_jitter: float = 0.0  # pixels, standard deviation: of the estimates that are refined
    anywhere: float = 0.0  # share of the refined points that lie beside the centre of their cell
    coarse_share: float = 0.5  # of the ground truth that supervises P
    fine_share: float = 0.2  # of the most possible coarse matches that train the fine stage
    ratio_jitter: float = 0.1  # of the log of the true scale ratio, standard deviation
    ema_decay: float = 0.999  # of the mean of the weights, which is what is used; 0: the newest
    seed: int = 0
    log_every: int = 20  # steps
    validate_every: int = 4000  # pairs; the averaged weights are written too
    milestone_every: int = 10_000  # pairs; weights kept for good, for a curve of scores
    checkpoint_every: int = 2000  # pairs

    def __post_init__(self):
        if self.fine_loss not in FINE_LOSSES:
            raise ValueError(
                f"fine_loss must be one of {', '.join(FINE_LOSSES)}; got {self.fine_loss!r}."
            )
        for name, least in (*_AT_LEAST_ONE, *_NOT_NEGATIVE):
            value = getattr(self, name)
            if not least <= value < math.inf:
                raise ValueError(f"{name} must be finite, and at least {least}; got {value}.")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(
                f"learning_rate must be finite, and above 0; got {self.learning_rate}."
            )
        if not 0 <= self.anywhere <= 1:
            raise ValueError(f"anywhere must lie in [0, 1]; got {self.anywhere}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """What the averaged weights are tried on, again and again the same."""

    photo_pairs: int = 64  # homographies of held-back photographs; 0: no validation at all
    posed_pairs: int = 64  # for the pose: of held-back scenes, or synthetic worlds; 0: none


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """What a run computes, and what its weights files say of it."""

    name: str
    model: ModelConfig
    train: TrainConfig
    data: HomographyConfig
    stages: tuple[Stage, ...]
    worlds: WorldConfig = dataclasses.field(default_factory=WorldConfig)
    worlds_share: float = 0.0  # of the batches that are synthetic worlds
    tracks: TracksConfig = dataclasses.field(default_factory=TracksConfig)
    tracks_share: float = 0.0  # that are real scenes with tracks
    lifted: LiftedConfig = dataclasses.field(default_factory=LiftedConfig)
    lifted_share: float = 0.0  # that are photographs made scenes
    posed_share: float = 0.0  # that are read from a data set with depth; the rest: homographies
    per_scene: int = 100  # pairs of each of its scenes in an epoch
    validation: ValidationConfig = ValidationConfig()
    note: str = ""  # for the weights files: where the data comes from, and its terms

    def __post_init__(self):
        shares = {kind: getattr(self, f"{kind}_share") for kind in KINDS}
        if min(shares.values()) < 0 or sum(shares.values()) > 1:
            raise ValueError(
                f"{', '.join(f'{kind}_share' for kind in KINDS)} must lie in [0, 1], and their "
                f"sum; got {', '.join(map(str, shares.values()))}."
            )
        if not self.stages:
            raise ValueError("stages must hold one stage at least; got none.")
        if not 0 <= self.train.start_pairs < self.pairs:
            raise ValueError(
                f"start_pairs must lie below the run's {self.pairs} pairs; got "
                f"{self.train.start_pairs}."
            )

    @property
    def pairs(self) -> int:
        return sum(stage.steps * stage.batch_size for stage in self.stages)

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    @property
    def first_step(self) -> int:
        """The step that a run begins with: the one before which start_pairs have been seen."""
        step, left = 0, self.train.start_pairs
        for stage in self.stages:
            taken = min(stage.steps, -(-left // stage.batch_size))
            step, left = step + taken, max(0, left - taken * stage.batch_size)
        return step

    def pairs_before(self, step: ArrayLike) -> ArrayLike:
        """The pairs that the run sees before a step, which may be traced."""
        seen, pairs = 0, 0
        for stage in self.stages:
            pairs += stage.batch_size * jnp.clip(step - seen, 0, stage.steps)
            seen += stage.steps
        return pairs

    def locate(self, step: int) -> tuple[Stage, int, int]:
        """The stage of a global step, the step within it, and the pairs seen before the step."""
        seen = 0
        for stage in self.stages:
            if step < stage.steps:
                return stage, step, seen + step * stage.batch_size
            step -= stage.steps
            seen += stage.steps * stage.batch_size
        raise ValueError(f"the run has {self.steps} steps; there is no step {step + self.steps}.")

    def data_config(self, stage: Stage) -> HomographyConfig:
        """The data at a stage's image size."""
        return dataclasses.replace(self.data, height=stage.height, width=stage.width)

    def worlds_config(self, stage: Stage) -> WorldConfig:
        """The worlds at a stage's image size."""
        return dataclasses.replace(self.worlds, height=stage.height, width=stage.width)

    def tracks_config(self, stage: Stage) -> TracksConfig:
        """The pairs of real scenes at a stage's image size."""
        return dataclasses.replace(self.tracks, height=stage.height, width=stage.width)

    def lifted_config(self, stage: Stage) -> LiftedConfig:
        """The lifted photographs at a stage's image size."""
        return dataclasses.replace(self.lifted, height=stage.height, width=stage.width)
