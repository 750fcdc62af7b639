"""Trains weights on from the photographs of a place, and keeps what is better on held-out ones."""

import dataclasses
import pathlib
from collections.abc import Callable

from astr_jax import configurations
from astr_jax.adaptation.held_out import Parts
from astr_jax.data.photos import LONG_SIDE
from astr_jax.evaluation.matchers.named import matcher_of
from astr_jax.evaluation.studies.tracks import (
    OF_POINTS,
    Measured,
    TrackRecord,
    difference,
    measured,
    records_of,
)
from astr_jax.params import Calibration, Params, fold_params
from astr_jax.training import devices, loop
from astr_jax.training.batches import Sources
from astr_jax.training.experiment import Experiment, Stage, ValidationConfig
from astr_jax.training.export import opened, read_run

MEASURE = OF_POINTS[1]  # by which weights are chosen and judged
RECIPE = "tiny_views"  # the configuration whose losses and pairs are taken


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdaptConfig:
    """How weights are adapted."""

    pairs: int = 1500  # half of real photographs, half homographies of them
    learning_rate: float = 3e-4  # the peak
    height: int = 256
    width: int = 320
    batch_size: int = 8
    checkpoints: int = 4  # that are tried on the pairs which choose
    resize: int = LONG_SIDE  # the size at which they are tried
    seed: int = 0

    def __post_init__(self):
        if self.pairs < self.checkpoints * self.batch_size:
            raise ValueError(
                f"pairs must be at least {self.checkpoints * self.batch_size}; got {self.pairs}."
            )


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What adapting brought, on the pairs that judge."""

    before: list[TrackRecord]
    after: list[TrackRecord]

    @property
    def gain(self) -> Measured:
        """Of MEASURE, after - before."""
        return difference(self.before, self.after, MEASURE)

    @property
    def better(self) -> bool:
        """Whether the whole interval of the gain lies above 0."""
        return self.gain.low > 0


def experiment_of(params: Params, config: AdaptConfig, note: str) -> Experiment:
    """The training run of weights that are to be adapted."""
    recipe = configurations.read(RECIPE).experiment()
    (stage,) = recipe.stages
    every = config.pairs // config.checkpoints
    train = dataclasses.replace(
        recipe.train,
        learning_rate=config.learning_rate,
        warmup_pairs=config.pairs // 10,
        seed=config.seed,
        log_every=5,
        validate_every=every,
        checkpoint_every=max(config.batch_size, every // 4),  # trying them takes minutes, too
    )
    stage = Stage(
        pairs=config.pairs,
        height=config.height,
        width=config.width,
        batch_size=config.batch_size,
        start_difficulty=stage.start_difficulty,
        end_difficulty=stage.end_difficulty,
    )
    return dataclasses.replace(
        recipe,
        name="adapted",
        model=params.config,
        train=train,
        stages=(stage,),
        validation=ValidationConfig(photo_pairs=0, posed_pairs=0),
        note=note,
    )


def score_pairs(
    params: Params,
    parts: Parts,
    pairs: list[tuple[int, int]],
    config: AdaptConfig,
    on_pair: Callable[[], None] = lambda: None,
    *,
    points_alone: bool = False,
) -> list[TrackRecord]:
    """The records of weights on pairs of the whole scene. on_pair hears of each; points_alone: as
    in records_of."""
    matcher, records = matcher_of(fold_params(params), config.resize), []
    given = matcher, parts.whole, pairs, config.seed
    for record in records_of(*given, points_alone=points_alone):
        records.append(record)
        on_pair()
    return records


def train(
    params: Params,
    parts: Parts,
    folder: pathlib.Path,
    config: AdaptConfig,
    *,
    note: str = "",
    minutes: float | None = None,
    num_threads: int = 1,
) -> bool:
    """Trains on the part to train on, or goes on; returns whether the run has come to its end.

    params: not folded. Checkpoints are scored by the pairs that choose, with the calibration of
    params, and the best is kept (`chosen`). minutes, and what it raises: as loop.train.
    """
    experiment = experiment_of(params, config, note)

    def judge(found: Params) -> float:
        found = found.replace(calibration=params.calibration)
        records = score_pairs(found, parts, parts.choosing, config, points_alone=True)
        return measured(records, MEASURE).value

    loop.train(
        experiment,
        Sources(photos=parts.train.images, scenes=(parts.train,)),
        folder,
        initial=params,
        minutes=minutes,
        num_threads=num_threads,
        mesh=devices.data_mesh(devices.first_devices(1)),
        judge=judge,
    )
    with opened(folder) as manager:
        return manager is not None and manager.latest_step() == experiment.steps


def chosen(folder: pathlib.Path, calibration: Calibration) -> Params:
    """The weights of the best checkpoint of a run, with a calibration; not folded."""
    return read_run(folder).params.replace(calibration=calibration)
