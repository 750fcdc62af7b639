"""The training loop: resumes, shows what it does, validates, saves."""

import contextlib
import functools
import json
import pathlib
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from astr_jax.config import to_json
from astr_jax.data.homography import HomographyPairs
from astr_jax.files import replacing
from astr_jax.model.astr import init_variables
from astr_jax.params import Params, save_params
from astr_jax.training.checkpoints import Checkpoints
from astr_jax.training.experiment import Experiment, Stage
from astr_jax.training.step import (
    TrainState,
    keys_for_step,
    loss_and_scores,
    make_optimizer,
    make_state,
    make_train_step,
)

VALIDATION_PAIRS = 64
VALIDATION_BATCH = 8


def train(
    experiment: Experiment,
    photos: list[np.ndarray],
    validation_photos: list[np.ndarray],
    workdir: pathlib.Path,
    *,
    initial: Params | None = None,
    minutes: float | None = None,
    num_threads: int = 2,
) -> Params:
    """Trains, or goes on with the run in workdir, and returns the averaged weights.

    Ends early, with everything saved, after `minutes` or on SIGTERM or SIGINT; the same call goes
    on from there. `initial`: weights to start from instead of fresh ones.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    model, config = experiment.model, experiment.train
    if initial and initial.config != model:
        raise ValueError(
            "The weights to start from have another configuration than the experiment."
        )
    note_experiment(workdir, experiment)
    variables = initial.variables if initial else init_variables(model, jax.random.key(config.seed))
    # One optimiser for the run: its schedule counts steps, and stages may differ in batch size.
    optimizer, schedule = make_optimizer(
        config, experiment.pairs, experiment.pairs // experiment.steps
    )
    state = make_state(variables, optimizer)
    checkpoints = Checkpoints(workdir)
    state = checkpoints.restore(state) or state
    log = (workdir / "log.jsonl").open("a", buffering=1)
    deadline = time.monotonic() + 60 * minutes if minutes else float("inf")
    with stop_signals() as stopped, progress_bar() as bar, log:
        task = bar.add_task(experiment.name, total=experiment.pairs, scores="compiling")
        while int(state.step) < experiment.steps and not stopped and time.monotonic() < deadline:
            stage, _, _ = experiment.locate(int(state.step))
            state = run_stage(
                experiment,
                stage,
                state,
                photos,
                validation_photos,
                workdir,
                optimizer=optimizer,
                schedule=schedule,
                checkpoints=checkpoints,
                log=log,
                show=functools.partial(bar.update, task),
                stop=lambda: bool(stopped) or time.monotonic() > deadline,
                num_threads=num_threads,
            )
    checkpoints.close()
    return averaged(state, experiment)


def note_experiment(workdir: pathlib.Path, experiment: Experiment) -> None:
    """Writes the experiment into its folder, or checks that it is the one already there.

    The stages and the optimiser may change on the way; the model and the data may not. Raises
    ValueError where they have.
    """
    path, text = workdir / "experiment.json", to_json(experiment)
    if path.exists():
        old, new = json.loads(path.read_text()), json.loads(text)
        for part in ("model", "data"):
            if old[part] != new[part]:
                raise ValueError(
                    f"{workdir} holds a run with another {part}. Take a new --workdir, or go on "
                    "from its weights there with --init."
                )
    with replacing(path) as beside:
        beside.write_text(text)


def run_stage(
    experiment: Experiment,
    stage: Stage,
    state: TrainState,
    photos,
    validation_photos,
    workdir,
    *,
    optimizer,
    schedule,
    checkpoints: Checkpoints,
    log,
    show,
    stop,
    num_threads: int,
) -> TrainState:
    """Runs one stage from where the state stands to its end, or until stop() says so."""
    config = experiment.train
    _, within, pairs = experiment.locate(int(state.step))
    data = HomographyPairs(photos, experiment.data_config(stage), config.seed)
    # Stages of other batch sizes go on in the list of pairs: none comes twice.
    offset = -(-(pairs - within * stage.batch_size) // stage.batch_size)
    step_fn = jax.jit(
        make_train_step(experiment.model, config, optimizer, fine=stage.fine), donate_argnums=0
    )
    validate = make_validation(experiment, stage, validation_photos)
    recent, clock = [], time.monotonic()
    batches = data.batches(
        offset + within,
        stage.batch_size,
        lambda index: difficulty(stage, index - offset),
        num_threads=num_threads,
    )
    with contextlib.closing(batches):
        for step in range(within, stage.steps):
            state, scores = step_fn(state, next(batches))
            recent.append(scores)
            pairs += stage.batch_size
            if len(recent) >= config.log_every:
                means = mean_scores(recent)
                now = time.monotonic()
                means |= {
                    "pairs": pairs,
                    "learning_rate": float(schedule(int(state.step))),
                    "pairs_per_second": len(recent) * stage.batch_size / (now - clock),
                    "difficulty": difficulty(stage, step),
                }
                log.write(json.dumps(means) + "\n")
                show(completed=pairs, scores=short(means))
                recent, clock = [], now
            last = step + 1 == stage.steps or stop()
            if last or crossed(pairs, stage.batch_size, config.validate_every):
                scores = validate(state)
                log.write(json.dumps({"pairs": pairs, "validation": scores}) + "\n")
                save_params(workdir / "weights.safetensors", averaged(state, experiment))
                clock = time.monotonic()
            if crossed(pairs, stage.batch_size, config.milestone_every):
                milestone = workdir / f"weights-{pairs // 1000:06d}k.safetensors"
                save_params(milestone, averaged(state, experiment))
            if last or crossed(pairs, stage.batch_size, config.checkpoint_every):
                checkpoints.save(state)
            if last:
                break
    return state


def difficulty(stage: Stage, step: int) -> float:
    """Of the pairs of a step of the stage."""
    share = step / max(1, stage.steps - 1)
    return stage.start_difficulty + share * (stage.end_difficulty - stage.start_difficulty)


def crossed(pairs: int, batch: int, every: int) -> bool:
    """Whether the last batch took the count over a multiple of `every`."""
    return pairs // every > (pairs - batch) // every


def averaged(state: TrainState, experiment: Experiment) -> Params:
    """The running mean of the weights, with what a weights file says of itself."""
    variables = {"params": state.ema, "batch_stats": state.batch_stats}
    note = (
        f"{experiment.name}, step {int(state.step)}. Trained on photographs that are mostly for "
        "research use; these terms, not the code's, hold for the weights."
    )
    return Params(variables, experiment.model, note=note)


def make_validation(experiment: Experiment, stage: Stage, photos):
    """Returns validate(state) -> scores of the averaged weights, on pairs that never change."""
    data = HomographyPairs(photos, experiment.data_config(stage), seed=12345)
    batches = [
        data.batch(i, VALIDATION_BATCH, difficulty=0.5)
        for i in range(VALIDATION_PAIRS // VALIDATION_BATCH)
    ]

    @jax.jit
    def scores_of(params, batch_stats, batch):
        keys = keys_for_step(0, jnp.zeros((), jnp.int32), VALIDATION_BATCH)
        return loss_and_scores(
            params,
            batch_stats,
            batch,
            keys,
            experiment.model,
            experiment.train,
            fine=stage.fine,
            train=False,
        )[1][0]

    def validate(state: TrainState) -> dict[str, float]:
        return mean_scores([scores_of(state.ema, state.batch_stats, b) for b in batches])

    return validate


def mean_scores(scores: list[dict]) -> dict[str, float]:
    """Means over steps of the scores that are numbers; a score that never is one is left out."""
    scores = jax.device_get(scores)
    values = {name: np.array([s[name] for s in scores]) for name in scores[0]}
    return {
        name: float(v[np.isfinite(v)].mean()) for name, v in values.items() if np.isfinite(v).any()
    }


def short(means: dict[str, float]) -> str:
    """The scores that fit on the progress bar."""
    names = ("loss", "precision", "recall", "fine_px", "pairs_per_second")
    bad = f"  [red]{means['bad']:.0%} of the steps were not finite" if means["bad"] else ""
    return "  ".join(f"{name} {means[name]:.3g}" for name in names if name in means) + bad


def progress_bar() -> Progress:
    """Pairs done, time left, and the newest scores."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[scores]}"),
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
