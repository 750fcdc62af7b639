"""What a run keeps in its folder beside checkpoints and log: experiment, weights, bad batches."""

import dataclasses
import json
import pathlib
from collections.abc import Callable

import jax
import numpy as np
from rich import print as say

from astr_jax.config import ModelConfig, architecture, from_json, to_json
from astr_jax.files import replacing
from astr_jax.params import Params, save_params
from astr_jax.supervision import PairBatch
from astr_jax.training import devices
from astr_jax.training.experiment import Experiment, Stage
from astr_jax.training.step import TrainState

MOST_BAD_FILES = 5  # batches that are kept, of steps that were not finite


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
    for part in ("data", "worlds", "worlds_share", "lifted_share", "posed_share", "per_scene"):
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


def save_bad_batch(
    workdir: pathlib.Path, step: int, make_batch: Callable[[], PairBatch]
) -> str | None:
    """Saves the pairs of a step that was not finite, and returns in words where they are.

    One array a field, named by its path: image0, mask0, truth/homography. Once there are
    MOST_BAD_FILES files nothing is made or saved, and None returned.
    """
    part = "" if jax.process_count() == 1 else f"-process-{jax.process_index()}"
    if len(list(workdir.glob(f"bad-step-*{part}.npz"))) >= MOST_BAD_FILES:
        return None
    path = workdir / f"bad-step-{step:07d}{part}.npz"
    try:
        with replacing(path) as beside:
            np.savez_compressed(beside, **named_arrays(devices.local_rows(make_batch())))
        return f"Its pairs: {path}"
    except OSError as error:
        return f"Its pairs could not be saved ({error})."


def named_arrays(batch: PairBatch) -> dict[str, np.ndarray]:
    """Every array of a batch by its path, such as truth/homography."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(batch)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): x for path, x in leaves}
