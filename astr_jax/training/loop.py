"""The training loop: resumes, shows what it does, validates, saves."""

import bisect
import contextlib
import dataclasses
import functools
import itertools
import pathlib
import time
from collections.abc import Callable

import jax
from jax.sharding import Mesh
from rich import print as say

from astr_jax.params import Params
from astr_jax.training import devices
from astr_jax.training.batches import Batches, Sources, hold_back, posed_pairs
from astr_jax.training.checkpoints import UNSCORED, Checkpoints
from astr_jax.training.clock import Clock, Every, check_clock, ended, unending
from astr_jax.training.experiment import Experiment, Stage
from astr_jax.training.lock import only_run
from astr_jax.training.optimiser import schedule_of
from astr_jax.training.records import Records
from astr_jax.training.run_folder import (
    averaged,
    check_experiment,
    check_place,
    save_bad_batch,
    save_weights,
    write_experiment,
)
from astr_jax.training.speed import Speed
from astr_jax.training.start import check_initial, first_state, like_state
from astr_jax.training.step import TrainState, compiled_step
from astr_jax.training.validation import best_score, make_validation, mean_scores
from astr_jax.training.watching import progress_bar, short, stop_signals

MOST_BAD_STEPS = 20  # in a row, that are not finite
STEPS_AHEAD = 2  # that are started before the results of one are there
STEPS_BETWEEN_ASKING = 4  # of several processes, whether one of them is to stop
WEIGHTS_EVERY = 60.0  # seconds: the newest ones are written


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
    clock: Clock | None  # by which stages end and the rate falls; None: by pairs
    judge: Callable[[Params], float] | None


def train(
    experiment: Experiment,
    sources: Sources,
    workdir: pathlib.Path,
    *,
    initial: Params | None = None,
    partial: bool = False,
    minutes: float | None = None,
    by_clock: bool = False,
    num_threads: int = 2,
    mesh: Mesh | None = None,
    judge: Callable[[Params], float] | None = None,
) -> Params:
    """Trains, or goes on with the run in workdir, and returns the averaged weights.

    Ends early, with everything saved, after `minutes` or, in the main thread, on SIGTERM or SIGINT;
    the same call goes on from there, on any number of devices. `initial`: weights to start from
    instead of fresh ones; partial: of them those layers whose names and shapes the model has
    (`fitting`). by_clock: stages, difficulty and learning rate follow the minutes, whatever the
    speed (`clock.py`); such a run is one piece. mesh: of the devices, by default all
    (`devices.data_mesh`). judge: scores averaged weights in place of the experiment's own
    validation; the more the better, and not negative. Of several processes all call this alike, and
    the first one writes.

    Raises ValueError where another process trains in workdir, where the run there, or `initial`
    (but if partial), is of another configuration, where there is nothing to take a part of or no
    part fits, or the devices do not fit the micro-batches, and FloatingPointError after
    MOST_BAD_STEPS steps in a row that are not finite.
    """
    deadline = float("inf") if minutes is None else time.monotonic() + 60 * minutes
    clock = None
    if by_clock:
        check_clock(minutes, workdir)
        clock, experiment = Clock.of(experiment, 60 * minutes), unending(experiment)
    mesh = devices.data_mesh() if mesh is None else mesh
    for stage in experiment.stages:
        devices.check_split(mesh, stage.pairs_at_once)
    check_initial(experiment, initial, partial=partial)
    old, first = check_experiment(workdir, experiment), devices.is_first()
    with (
        only_run(workdir, enabled=first),
        contextlib.closing(Checkpoints(workdir)) as checkpoints,
        stop_signals() as stopped,
        progress_bar(disable=not first) as bar,
        Records(workdir, enabled=first) as records,
    ):
        total = None if clock else experiment.pairs
        task = bar.add_task(experiment.name, total=total, scores="compiling")
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
            clock=clock,
            judge=judge,
        )
        while int(state.step) < run.experiment.steps and not run.stop():
            state, run = run_stage(run, state)
    step, steps = int(state.step), experiment.steps
    if first and step < steps and not clock:
        say(
            f"Stopped at step {step} of {steps}; the same command goes on from there. Elsewhere, "
            "with the weights alone: --init weights.safetensors --set "
            f"train.start_pairs={int(experiment.pairs_before(step))}."
        )
    return averaged(state, experiment)


def run_stage(run: Run, state: TrainState) -> tuple[TrainState, Run]:
    """Runs a stage from where the state stands to its end, or until run.stop() says so. Returns
    the run too: by the clock it learns how long the stage was."""
    experiment, config, clock = run.experiment, run.experiment.train, run.clock
    start = int(state.step)
    stage, within, pairs = experiment.locate(start)
    number = bisect.bisect_right([*itertools.accumulate(s.steps for s in experiment.stages)], start)
    end = start + stage.steps - within
    # Stages of other batch sizes go on in the list of pairs: none comes twice.
    offset = -(-(pairs - within * stage.batch_size) // stage.batch_size)
    train_step = compiled_step(experiment, run.mesh, fine=stage.fine, parts=stage.parts)

    def difficulty(index: int) -> float:
        share = clock.within(number) if clock else (index - offset) / max(1, stage.steps - 1)
        return stage.start_difficulty + share * (stage.end_difficulty - stage.start_difficulty)

    batches, validate = open_data(run, stage, difficulty)
    speed, schedule = Speed(experiment.model, stage, run.mesh), schedule_of(experiment)
    recent, bad, minute = [], 0, Every(WEIGHTS_EVERY)
    asks = 1 if jax.process_count() == 1 else STEPS_BETWEEN_ASKING
    with batches.ahead(offset + within, run.num_threads) as ahead:
        for step in range(start, end):
            rate = clock.rate() if clock else 1.0
            state, scores = train_step(state, next(ahead), rate)
            recent.append(scores)
            pairs += stage.batch_size
            done = step + 1 == end or (clock is not None and clock.within(number) >= 1)
            logs = done or len(recent) >= config.log_every
            if len(recent) > STEPS_AHEAD:  # a stop need not wait for more steps than these
                jax.block_until_ready(recent[-1 - STEPS_AHEAD])
            stopped = (step + 1) % asks == 0 and run.stop()  # all processes at one step
            if logs or stopped:
                recent, first = jax.device_get(recent), step + 1 - len(recent)
                bad = bad_in_a_row(bad, recent, step + 1)
                means = mean_scores(recent) | speed.measure(len(recent))
                means["learning_rate"] = rate * float(schedule(step + 1))
                means["difficulty"] = difficulty(offset + step - end + stage.steps)
                run.records.scalars(step + 1, pairs, means)
                run.show(completed=pairs, scores=short(means))
                tell_bad_steps(run, batches, recent, first, offset + within - start)
                batches.say_bad_files()
                recent = []
            score = None
            due = done or crossed(pairs, stage.batch_size, config.validate_every)
            if (due and not stopped) or (done and not clock):
                with speed.paused():
                    score = validated(run, stage, validate, state, pairs)
            if minute.due() or stopped or score is not None:
                save_weights(run.workdir / "weights.safetensors", state, experiment)
            if crossed(pairs, stage.batch_size, config.milestone_every):
                name = f"weights-{pairs // 1000:06d}k.safetensors"
                save_weights(run.workdir / name, state, experiment)
            due = crossed(pairs, stage.batch_size, config.checkpoint_every)
            if stopped or due or score is not None:
                run.checkpoints.save(state, score)
            if stopped or done:
                break
    if clock:
        run = dataclasses.replace(run, experiment=ended(experiment, number, step + 1 - start))
        write_experiment(run.workdir, run.experiment)
    return state, run


def open_data(run: Run, stage: Stage, difficulty: Callable[[int], float]):
    """The batches of a stage, and what the weights are tried on."""
    experiment, sources = run.experiment, run.sources
    posed = held = None
    if experiment.posed_share > 0 and sources.posed is not None:
        some, others = hold_back(sources.posed)
        skip = {"skip_bad": sources.skip_bad}
        posed = posed_pairs(some, stage, experiment, **skip)
        held = posed_pairs(others, stage, experiment, **skip) if others else None
    batches = Batches(
        experiment,
        stage,
        run.mesh,
        difficulty,
        photos=sources.photos,
        scenes=sources.scenes,
        posed=posed,
    )
    validate = None
    if devices.is_first() and experiment.validation.photo_pairs and run.judge is None:
        validate = make_validation(experiment, stage, sources.validation_photos, held)
    return batches, validate


def validated(run: Run, stage: Stage, validate, state: TrainState, pairs: int) -> float:
    """Tries the averaged weights, on the first process; returns the score to be best at."""
    score = UNSCORED
    if run.judge is not None and devices.is_first():
        run.show(completed=pairs, scores="validating")
        score = run.judge(averaged(state, run.experiment))
        run.records.scalars(int(state.step), pairs, {"score": score}, split="validation")
    elif validate is not None:
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


def tell_bad_steps(run: Run, batches: Batches, scores: list[dict], first: int, shift: int) -> None:
    """Names the first bad step of these and saves its batch, which is made once more for this.

    first: the step of the first scores; shift: from a step's number to its batch's.
    """
    bad = [first + k for k, score in enumerate(scores) if score["bad"]]
    if not bad:
        return
    kept = save_bad_batch(run.workdir, bad[0], lambda: batches.batch(bad[0] + shift))
    if kept is not None:
        say(
            f"[yellow]The loss or its gradient was not finite in {len(bad)} steps, first in step "
            f"{bad[0]}, which changed no weight. {kept}"
        )


def crossed(pairs: int, batch: int, every: int) -> bool:
    """Whether the last batch took the count over a multiple of `every`."""
    return pairs // every > (pairs - batch) // every
