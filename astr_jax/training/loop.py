"""The training loop: resumes, shows what it does, validates, saves."""

import contextlib
import dataclasses
import functools
import json
import pathlib
import signal
import time
from collections.abc import Callable, Sequence
from typing import TextIO

import jax
import numpy as np
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from astr_jax.config import ModelConfig, to_json
from astr_jax.files import replacing
from astr_jax.model.astr import init_variables
from astr_jax.params import Params, save_params
from astr_jax.training.batches import make_batches
from astr_jax.training.checkpoints import Checkpoints
from astr_jax.training.experiment import Experiment, Stage, TrainConfig
from astr_jax.training.step import (
    TrainState,
    make_optimizer,
    make_state,
    make_train_step,
)
from astr_jax.training.validation import make_validation, mean_scores

MOST_BAD_STEPS = 20  # in a row, that are not finite


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """What the stages of a run share."""

    experiment: Experiment
    photos: Sequence[np.ndarray]
    validation_photos: Sequence[np.ndarray]
    workdir: pathlib.Path
    checkpoints: Checkpoints
    log: TextIO
    show: Callable[..., None]  # show(completed=pairs, scores=text) on the progress bar
    stop: Callable[[], bool]
    num_threads: int


def train(
    experiment: Experiment,
    photos: Sequence[np.ndarray],
    validation_photos: Sequence[np.ndarray],
    workdir: pathlib.Path,
    *,
    initial: Params | None = None,
    minutes: float | None = None,
    num_threads: int = 2,
) -> Params:
    """Trains, or goes on with the run in workdir, and returns the averaged weights.

    Ends early, with everything saved, after `minutes` or on SIGTERM or SIGINT; the same call goes
    on from there. `initial`: weights to start from instead of fresh ones. Raises ValueError where
    the run in workdir, or `initial`, is of another configuration, and FloatingPointError after
    MOST_BAD_STEPS steps in a row that are not finite.
    """
    deadline = float("inf") if minutes is None else time.monotonic() + 60 * minutes
    workdir.mkdir(parents=True, exist_ok=True)
    if initial and initial.config != experiment.model:
        raise ValueError(
            "The weights to start from have another configuration than the experiment."
        )
    note_experiment(workdir, experiment)
    checkpoints = Checkpoints(workdir)
    log = (workdir / "log.jsonl").open("a", buffering=1)
    with stop_signals() as stopped, progress_bar() as bar, log, contextlib.closing(checkpoints):
        task = bar.add_task(experiment.name, total=experiment.pairs, scores="compiling")
        run = Run(
            experiment=experiment,
            photos=photos,
            validation_photos=validation_photos,
            workdir=workdir,
            checkpoints=checkpoints,
            log=log,
            show=functools.partial(bar.update, task),
            stop=lambda: bool(stopped) or time.monotonic() >= deadline,
            num_threads=num_threads,
        )
        state = checkpoints.restore(like_state(experiment)) or first_state(experiment, initial)
        while int(state.step) < experiment.steps and not run.stop():
            state = run_stage(run, state)
    return averaged(state, experiment)


def first_state(experiment: Experiment, initial: Params | None) -> TrainState:
    """The state before the first step, of given weights or of fresh ones."""
    if initial:
        variables = initial.variables
    else:
        variables = init_variables(experiment.model, jax.random.key(experiment.train.seed))
    # A copy, since steps take over the arrays of their state and those given stay the caller's; on
    # a named device, as a restored state is, so that both run through one compiled step.
    state = make_state(variables, optimizer_of(experiment)[0])
    return jax.device_put(state, jax.devices()[0], may_alias=False)


def like_state(experiment: Experiment) -> TrainState:
    """Shapes and places of a state's arrays."""
    shapes = jax.eval_shape(
        lambda: make_state(
            init_variables(experiment.model, jax.random.key(0)), optimizer_of(experiment)[0]
        )
    )
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes)


def optimizer_of(experiment: Experiment):
    """One optimiser for the run, and its schedule of the learning rate, which counts steps: stages
    may differ in batch size."""
    pairs, steps = experiment.pairs, experiment.steps
    return make_optimizer(experiment.train, pairs, pairs // steps)


def note_experiment(workdir: pathlib.Path, experiment: Experiment) -> None:
    """Writes the experiment into its folder, or checks that it is the one already there.

    The stages and the optimiser may change on the way; the model and the data may not. Raises
    ValueError where they have.
    """
    path, text = workdir / "experiment.json", to_json(experiment)
    if path.exists():
        old, new = json.loads(path.read_text()), json.loads(text)
        for part in ("model", "data", "worlds", "worlds_share"):
            if part in old and old[part] != new[part]:
                raise ValueError(
                    f"{workdir} holds a run with another {part}. Take a new --workdir, or go on "
                    "from its weights there with --init."
                )
    with replacing(path) as beside:
        beside.write_text(text)


def run_stage(run: Run, state: TrainState) -> TrainState:
    """Runs a stage from where the state stands to its end, or until run.stop() says so."""
    experiment, config = run.experiment, run.experiment.train
    stage, within, pairs = experiment.locate(int(state.step))
    # Stages of other batch sizes go on in the list of pairs: none comes twice.
    offset = -(-(pairs - within * stage.batch_size) // stage.batch_size)
    train_step = compiled_step(
        experiment.model, config, experiment.pairs, experiment.steps, stage.fine
    )
    validate = make_validation(experiment, stage, run.validation_photos)
    schedule = optimizer_of(experiment)[1]
    recent, bad, clock = [], 0, time.monotonic()
    batches = make_batches(
        experiment,
        stage,
        run.photos,
        offset + within,
        lambda index: difficulty(stage, index - offset),
        num_threads=run.num_threads,
    )
    with contextlib.closing(batches):
        for step in range(within, stage.steps):
            state, scores = train_step(state, next(batches))
            recent.append(scores)
            pairs += stage.batch_size
            last = step + 1 == stage.steps or run.stop()
            if last or len(recent) >= config.log_every:
                means = mean_scores(recent) | {
                    "pairs": pairs,
                    "learning_rate": float(schedule(int(state.step))),
                    "pairs_per_second": len(recent) * stage.batch_size / (time.monotonic() - clock),
                    "difficulty": difficulty(stage, step),
                }
                run.log.write(json.dumps(means) + "\n")
                run.show(completed=pairs, scores=short(means))
                bad = bad_in_a_row(bad, recent, int(state.step))
                recent, clock = [], time.monotonic()
            if last or crossed(pairs, stage.batch_size, config.validate_every):
                row = {"pairs": pairs, "validation": validate(state)}
                run.log.write(json.dumps(row) + "\n")
                save_weights(run.workdir / "weights.safetensors", state, experiment)
                clock = time.monotonic()
            if crossed(pairs, stage.batch_size, config.milestone_every):
                name = f"weights-{pairs // 1000:06d}k.safetensors"
                save_weights(run.workdir / name, state, experiment)
            if last or crossed(pairs, stage.batch_size, config.checkpoint_every):
                run.checkpoints.save(state)
            if last:
                break
    return state


@functools.lru_cache
def compiled_step(model: ModelConfig, config: TrainConfig, pairs: int, steps: int, fine: bool):
    """The training step of a run of so many pairs and steps; compiled once for each batch shape,
    however many stages and runs of the process take it."""
    optimizer, _ = make_optimizer(config, pairs, pairs // steps)
    return jax.jit(make_train_step(model, config, optimizer, fine=fine), donate_argnums=0)


def bad_in_a_row(before: int, scores: list[dict], step: int) -> int:
    """Counts the newest bad steps in a row, of which `before` came before these scores.

    step: how many steps are done. Raises FloatingPointError where the row is too long.
    """
    bad = before
    for number, score in enumerate(jax.device_get(scores), start=step - len(scores)):
        bad = bad + 1 if score["bad"] else 0
        if bad >= MOST_BAD_STEPS:
            raise FloatingPointError(
                f"the loss or its gradient was not finite in {bad} steps in a row, from step "
                f"{number + 1 - bad} to step {number}; the weights stay as they were before. Go on "
                "with a lower rate, such as --set train.learning_rate=1e-4, or from other weights."
            )
    return bad


def difficulty(stage: Stage, step: int) -> float:
    """Of the pairs of a step of the stage."""
    share = step / max(1, stage.steps - 1)
    return stage.start_difficulty + share * (stage.end_difficulty - stage.start_difficulty)


def crossed(pairs: int, batch: int, every: int) -> bool:
    """Whether the last batch took the count over a multiple of `every`."""
    return pairs // every > (pairs - batch) // every


def averaged(state: TrainState, experiment: Experiment) -> Params:
    """The running mean of the weights."""
    return Params({"params": state.ema, "batch_stats": state.batch_stats}, experiment.model)


def save_weights(path: pathlib.Path, state: TrainState, experiment: Experiment) -> None:
    """Writes the running mean of the weights; the note tells the run, the step, and its own."""
    note = f"{experiment.name}, step {int(state.step)}. {experiment.note}".strip()
    save_params(path, averaged(state, experiment), note=note)


def short(means: dict[str, float]) -> str:
    """The scores beside the progress."""
    names = ("loss", "precision", "recall", "fine_px")
    scores = [f"{name} {means[name]:.3g}" for name in names if name in means]
    bad = f"  [red]{means['bad']:.0%} of the steps were not finite" if means["bad"] else ""
    return "  ".join([*scores, f"{means['pairs_per_second']:.3g} pairs/s"]) + bad


def progress_bar() -> Progress:
    """Pairs done, time left, and the newest scores, which fold where the terminal is narrow."""
    return Progress(
        TextColumn("{task.description}"),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[scores]}", table_column=Column(no_wrap=False)),
    )


@contextlib.contextmanager
def stop_signals():
    """Yields a list that is non-empty once SIGTERM or SIGINT has come; twice, and it kills."""
    received: list[int] = []

    def note(number, frame):
        if received:
            raise KeyboardInterrupt
        received.append(number)

    old = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
