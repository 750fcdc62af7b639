"""The training loop: resumes, shows what it does, validates, saves."""

import contextlib
import dataclasses
import functools
import json
import pathlib
import signal
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh
from jaxtyping import PyTree
from rich import print as say
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from astr_jax.config import ModelConfig, architecture, from_json, to_json
from astr_jax.data.readers import PosedDataset
from astr_jax.files import replacing
from astr_jax.model.astr import init_variables
from astr_jax.params import Params, save_params
from astr_jax.training import devices
from astr_jax.training.batches import Batches, hold_back, posed_pairs
from astr_jax.training.checkpoints import UNSCORED, Checkpoints
from astr_jax.training.experiment import Experiment, Stage
from astr_jax.training.records import Records
from astr_jax.training.speed import Speed
from astr_jax.training.step import (
    TrainState,
    make_optimizer,
    make_schedule,
    make_state,
    make_train_step,
)
from astr_jax.training.validation import best_score, make_validation, mean_scores

MOST_BAD_STEPS = 20  # in a row, that are not finite
MOST_BAD_FILES = 5  # of their batches that are kept
STEPS_AHEAD = 2  # that are started before the results of one are there
STEPS_BETWEEN_ASKING = 4  # of several processes, whether one of them is to stop


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sources:
    """What a run trains on, and what it is tried on meanwhile."""

    photos: Sequence[np.ndarray] = ()
    validation_photos: Sequence[np.ndarray] = ()
    posed: PosedDataset | None = None  # with depth; some of its scenes are held back
    skip_bad: bool = False  # leave out the data set's files that cannot be read


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """What the stages of a run share."""

    experiment: Experiment
    sources: Sources
    workdir: pathlib.Path
    mesh: Mesh
    checkpoints: Checkpoints
    records: Records
    show: Callable[..., None]  # show(completed=pairs, scores=text) on the progress bar
    stop: Callable[[], bool]
    num_threads: int


def train(
    experiment: Experiment,
    sources: Sources,
    workdir: pathlib.Path,
    *,
    initial: Params | None = None,
    partial: bool = False,
    minutes: float | None = None,
    num_threads: int = 2,
    mesh: Mesh | None = None,
) -> Params:
    """Trains, or goes on with the run in workdir, and returns the averaged weights.

    Ends early, with everything saved, after `minutes` or on SIGTERM or SIGINT; the same call goes
    on from there, on any number of devices. `initial`: weights to start from instead of fresh
    ones; partial: of them those layers whose names and shapes the model has (`fitting`). mesh: of
    the devices, by default all (`devices.data_mesh`). Of several processes all call this alike,
    and the first one writes.

    Raises ValueError where the run in workdir, or `initial` (but if partial), is of another
    configuration, where there is nothing to take a part of or no part fits, or the
    devices do not fit the micro-batches, and FloatingPointError after MOST_BAD_STEPS steps in a
    row that are not finite.
    """
    deadline = float("inf") if minutes is None else time.monotonic() + 60 * minutes
    mesh = devices.data_mesh() if mesh is None else mesh
    for stage in experiment.stages:
        devices.check_split(mesh, stage.pairs_at_once)
    same = initial is None or architecture(initial.config) == architecture(experiment.model)
    if not (same or partial):
        raise ValueError(
            "The weights to start from have another configuration than the experiment. --partial "
            "takes the layers that fit."
        )
    if partial and initial is None:
        raise ValueError("--partial says what to take of weights: give them by --init.")
    old, first = check_experiment(workdir, experiment), devices.is_first()
    checkpoints = Checkpoints(workdir)
    with (
        stop_signals() as stopped,
        progress_bar(disable=not first) as bar,
        contextlib.closing(checkpoints),
        Records(workdir, enabled=first) as records,
    ):
        task = bar.add_task(experiment.name, total=experiment.pairs, scores="compiling")
        state = checkpoints.restore(like_state(experiment, mesh))
        if state is None:
            state = first_state(experiment, mesh, initial, partial=partial)
        check_place(old, experiment, int(state.step))
        write_experiment(workdir, experiment)
        records.resume(int(state.step))
        run = Run(
            experiment=experiment,
            sources=sources,
            workdir=workdir,
            mesh=mesh,
            checkpoints=checkpoints,
            records=records,
            show=functools.partial(bar.update, task),
            stop=lambda: devices.any_process(bool(stopped) or time.monotonic() >= deadline),
            num_threads=num_threads,
        )
        while int(state.step) < experiment.steps and not run.stop():
            state = run_stage(run, state)
    step, steps = int(state.step), experiment.steps
    if first and step < steps:
        say(
            f"Stopped at step {step} of {steps}; the same command goes on from there. Elsewhere, "
            "with the weights alone: --init weights.safetensors --set "
            f"train.start_pairs={int(experiment.pairs_before(step))}."
        )
    return averaged(state, experiment)


def first_state(
    experiment: Experiment, mesh: Mesh, initial: Params | None = None, *, partial: bool = False
) -> TrainState:
    """The state before the first step, of given weights or of fresh ones, on all devices."""
    if experiment.train.start_pairs and initial is None:
        raise ValueError(
            "start_pairs says what the weights to start from have seen: give them by --init."
        )
    if initial is None or partial:
        variables = init_variables(experiment.model, jax.random.key(experiment.train.seed))
    if partial:
        variables = fitting(variables, initial.variables)
    elif initial:
        variables = initial.variables
    optimizer, first = optimizer_of(experiment), experiment.first_step
    state = jax.device_get(make_state(variables, optimizer, first))
    # A copy, since steps take over the arrays of their state and those given stay the caller's.
    return jax.device_put(state, devices.whole(mesh), may_alias=False)


def fitting(fresh: PyTree, given: PyTree) -> PyTree:
    """fresh, with those layers of given whose arrays all have the same names and shapes; says how
    much that is. A convolution and its norm are one layer: statistics hold for its weights alone.

    Raises ValueError where no layer fits.
    """

    def layer(name):  # (collection, module, ..., convolution or norm, array)
        return name[1:-2]

    new, old = flatten_dict(fresh), flatten_dict(given)
    unlike = {layer(n) for n, x in new.items() if n not in old or old[n].shape != x.shape}
    taken = {name: old[name] for name in new if layer(name) not in unlike}
    if not taken:
        raise ValueError("No layer of the weights to start from has names and shapes of the model.")
    if devices.is_first():
        say(
            f"Started from {len(taken)} of the {len(old)} arrays given; of the model's {len(new)} "
            f"fresh: {', '.join(sorted(map('/'.join, unlike))) or 'none'}."
        )
    return unflatten_dict(new | taken)


def like_state(experiment: Experiment, mesh: Mesh) -> TrainState:
    """Shapes and places of a state's arrays."""
    shapes = jax.eval_shape(
        lambda: make_state(
            init_variables(experiment.model, jax.random.key(0)), optimizer_of(experiment)
        )
    )
    place = devices.whole(mesh)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes)


def schedule_of(experiment: Experiment):
    """The run's learning rate at a step."""
    return make_schedule(experiment.train, experiment.pairs, experiment.pairs_before)


def optimizer_of(experiment: Experiment):
    """One optimiser for the whole run. It counts the steps that it does itself."""
    schedule, first = schedule_of(experiment), experiment.first_step
    return make_optimizer(experiment.train, lambda count: schedule(first + count))


def check_experiment(workdir: pathlib.Path, experiment: Experiment) -> dict | None:
    """Returns the experiment of the run in workdir, if there is one, as JSON has it.

    The stages to come and the optimiser may change on the way; the model (but for how it is
    computed), the data and the seed may not. Raises ValueError where they have.
    """
    path = workdir / "experiment.json"
    if not path.exists():
        return None
    old, new = json.loads(path.read_text()), json.loads(to_json(experiment))
    same_weights = architecture(from_json(ModelConfig, json.dumps(old["model"])))
    changed = ["model"] if same_weights != architecture(experiment.model) else []
    for part in ("data", "worlds", "worlds_share", "posed_share", "per_scene"):
        if part in old and old[part] != new[part]:
            changed.append(part)
    for part in ("seed", "start_pairs"):
        if old["train"].get(part, 0) != getattr(experiment.train, part):
            changed.append(part)
    if changed:
        raise ValueError(
            f"{workdir} holds a run with another {', '.join(changed)}. Take a new --workdir, or go "
            "on from its weights there with --init, and --partial where the model has changed."
        )
    return old


def check_place(old: dict | None, experiment: Experiment, step: int) -> None:
    """Raises ValueError where the stages of a run that stands at a step were changed in what it
    has behind it: it would go on elsewhere in its list of pairs."""
    if old is None:
        return
    stages = [Stage(**stage) for stage in old["stages"]]
    before = int(dataclasses.replace(experiment, stages=tuple(stages)).pairs_before(step))
    now = int(experiment.pairs_before(step))
    if before != now:
        raise ValueError(
            f"The run has seen {before} pairs in {step} steps; by the changed stages it would be "
            f"{now}. Leave the batch size and length of stages that have begun as they were."
        )


def write_experiment(workdir: pathlib.Path, experiment: Experiment) -> None:
    """Writes experiment.json into the run's folder."""
    if devices.is_first():
        workdir.mkdir(parents=True, exist_ok=True)
        with replacing(workdir / "experiment.json") as beside:
            beside.write_text(to_json(experiment))


def run_stage(run: Run, state: TrainState) -> TrainState:
    """Runs a stage from where the state stands to its end, or until run.stop() says so."""
    experiment, config = run.experiment, run.experiment.train
    start = int(state.step)
    stage, within, pairs = experiment.locate(start)
    end = start + stage.steps - within
    # Stages of other batch sizes go on in the list of pairs: none comes twice.
    offset = -(-(pairs - within * stage.batch_size) // stage.batch_size)
    train_step = compiled_step(experiment, run.mesh, fine=stage.fine, parts=stage.parts)
    batches, validate = open_data(run, stage, lambda index: difficulty(stage, index - offset))
    speed, schedule = Speed(experiment.model, stage, run.mesh), schedule_of(experiment)
    recent, bad = [], 0
    asks = 1 if jax.process_count() == 1 else STEPS_BETWEEN_ASKING
    with batches.ahead(offset + within, run.num_threads) as ahead:
        for step in range(start, end):
            state, scores = train_step(state, next(ahead))
            recent.append(scores)
            pairs += stage.batch_size
            done = step + 1 == end
            logs = done or len(recent) >= config.log_every
            if len(recent) > STEPS_AHEAD:  # a stop need not wait for more steps than these
                jax.block_until_ready(recent[-1 - STEPS_AHEAD])
            stopped = (step + 1) % asks == 0 and run.stop()  # all processes at one step
            if logs or stopped:
                recent, first = jax.device_get(recent), step + 1 - len(recent)
                bad = bad_in_a_row(bad, recent, step + 1)
                means = mean_scores(recent) | speed.measure(len(recent))
                means["learning_rate"] = float(schedule(step + 1))
                means["difficulty"] = difficulty(stage, step - end + stage.steps)
                run.records.scalars(step + 1, pairs, means)
                run.show(completed=pairs, scores=short(means))
                save_bad_batch(run, batches, recent, first, offset + within - start)
                batches.say_bad_files()
                recent = []
            score = None
            due = crossed(pairs, stage.batch_size, config.validate_every)
            if done or (due and not stopped):
                with speed.paused():
                    score = validated(run, stage, validate, state, pairs)
            if stopped or score is not None:
                save_weights(run.workdir / "weights.safetensors", state, experiment)
            if crossed(pairs, stage.batch_size, config.milestone_every):
                name = f"weights-{pairs // 1000:06d}k.safetensors"
                save_weights(run.workdir / name, state, experiment)
            due = crossed(pairs, stage.batch_size, config.checkpoint_every)
            if stopped or due or score is not None:
                run.checkpoints.save(state, score)
            if stopped:
                break
    return state


def open_data(run: Run, stage: Stage, difficulty: Callable[[int], float]):
    """The batches of a stage, and what the weights are tried on."""
    experiment, sources = run.experiment, run.sources
    posed = held = None
    if experiment.posed_share > 0 and sources.posed is not None:
        some, others = hold_back(sources.posed)
        skip = {"skip_bad": sources.skip_bad}
        posed = posed_pairs(some, stage, experiment, **skip)
        held = posed_pairs(others, stage, experiment, **skip) if others else None
    batches = Batches(experiment, stage, run.mesh, difficulty, photos=sources.photos, posed=posed)
    validate = None
    if devices.is_first():
        validate = make_validation(experiment, stage, sources.validation_photos, held)
    return batches, validate


@functools.lru_cache
def compiled_step(experiment: Experiment, mesh: Mesh, *, fine: bool, parts: int):
    """The training step on a mesh; compiled once for each batch shape and kind of pairs, however
    many stages and runs of the process take it."""
    step = make_train_step(
        experiment.model,
        experiment.train,
        optimizer_of(experiment),
        fine=fine,
        parts=parts,
    )

    def on_mesh(state, batch):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return step(state, batch)

    same, split = devices.whole(mesh), devices.split(mesh)
    return jax.jit(
        on_mesh, in_shardings=(same, split), out_shardings=(same, same), donate_argnums=0
    )


def validated(run: Run, stage: Stage, validate, state: TrainState, pairs: int) -> float:
    """Tries the averaged weights, on the first process; returns the score to be best at."""
    score = UNSCORED
    if validate is not None:
        run.show(completed=pairs, scores="validating")
        outcome = validate(averaged(state, run.experiment).variables)
        run.records.scalars(int(state.step), pairs, outcome.scores, split="validation")
        run.records.picture(pairs, "matches", outcome.picture)
        last = run.experiment.stages[-1]
        if (stage.fine, stage.height, stage.width) == (last.fine, last.height, last.width):
            score = best_score(outcome.scores)  # of other stages it could not be compared
    return devices.from_first(score)


def bad_in_a_row(before: int, scores: list[dict], step: int) -> int:
    """Counts the newest bad steps in a row, of which `before` came before these scores.

    step: how many steps are done. Raises FloatingPointError where the row is too long.
    """
    bad = before
    for number, score in enumerate(scores, start=step - len(scores)):
        bad = bad + 1 if score["bad"] else 0
        if bad >= MOST_BAD_STEPS:
            raise FloatingPointError(
                f"the loss or its gradient was not finite in {bad} steps in a row, from step "
                f"{number + 1 - bad} to step {number}; the weights stay as they were before. Go on "
                "with a lower rate, such as --set train.learning_rate=1e-4, or from other weights."
            )
    return bad


def save_bad_batch(run: Run, batches: Batches, scores: list[dict], first: int, shift: int) -> None:
    """Names the first bad step of these and saves its batch, which is made once more for this.

    first: the step of the first scores; shift: from a step's number to its batch's.
    """
    bad = [first + k for k, score in enumerate(scores) if score["bad"]]
    part = "" if jax.process_count() == 1 else f"-process-{jax.process_index()}"
    if not bad or len(list(run.workdir.glob(f"bad-step-*{part}.npz"))) >= MOST_BAD_FILES:
        return
    path = run.workdir / f"bad-step-{bad[0]:07d}{part}.npz"
    try:
        with replacing(path) as beside:
            np.savez_compressed(beside, **devices.local_rows(batches.batch(bad[0] + shift)))
        kept = f"Its pairs: {path}"
    except OSError as error:
        kept = f"Its pairs could not be saved ({error})."
    say(
        f"[yellow]The loss or its gradient was not finite in {len(bad)} steps, first in step "
        f"{bad[0]}, which changed no weight. {kept}"
    )


def difficulty(stage: Stage, step: int) -> float:
    """Of the pairs of a step of the stage."""
    share = step / max(1, stage.steps - 1)
    return stage.start_difficulty + share * (stage.end_difficulty - stage.start_difficulty)


def crossed(pairs: int, batch: int, every: int) -> bool:
    """Whether the last batch took the count over a multiple of `every`."""
    return pairs // every > (pairs - batch) // every


def averaged(state: TrainState, experiment: Experiment) -> Params:
    """The running mean of the weights."""
    variables = devices.local_copy({"params": state.ema, "batch_stats": state.batch_stats})
    return Params(variables, experiment.model)


def save_weights(path: pathlib.Path, state: TrainState, experiment: Experiment) -> None:
    """Writes the running mean of the weights; the note tells the run, the step, and its own. Where
    it cannot, on a full disk for one, the run is told so and goes on."""
    if devices.is_first():
        note = f"{experiment.name}, step {int(state.step)}. {experiment.note}".strip()
        try:
            save_params(path, averaged(state, experiment), note=note)
        except OSError as error:
            say(f"[yellow]{path} was not written ({error}). The run goes on without it.")


def short(means: dict[str, float]) -> str:
    """The scores beside the progress."""
    names = ("loss", "precision", "recall", "fine_px")
    scores = [f"{name} {means[name]:.3g}" for name in names if name in means]
    bad = f"  [red]{means['bad']:.0%} of the steps were not finite" if means["bad"] else ""
    return "  ".join([*scores, f"{means['pairs_per_second']:.3g} pairs/s"]) + bad


def progress_bar(*, disable: bool = False) -> Progress:
    """Pairs done, time left, and the newest scores, which fold where the terminal is narrow."""
    return Progress(
        TextColumn("{task.description}"),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[scores]}", table_column=Column(no_wrap=False)),
        disable=disable,
        speed_estimate_period=1800,  # a step may take longer than the default of 30 seconds
    )


@contextlib.contextmanager
def stop_signals():
    """Yields a list that is non-empty once SIGTERM or SIGINT has come; a second SIGINT kills."""
    received: list[int] = []

    def note(number, frame):
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    old = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
