"""Takes the averaged weights out of a run's folder, whatever optimiser and devices it ran on."""

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator

import jax
import orbax.checkpoint as ocp

from astr_jax.config import ModelConfig, from_json
from astr_jax.instruments.cost import abstract_variables
from astr_jax.params import Params
from astr_jax.training.checkpoints import SCORE, UNSCORED
from pallas_kernels.target import one_line


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunWeights:
    """The averaged weights of one checkpoint of a run."""

    params: Params  # not folded
    step: int
    score: float | None  # of the validation at that step; the higher the better
    name: str  # of the experiment
    note: str  # of the experiment: where its data comes from, and its terms


def read_run(folder: str | os.PathLike, step: int | None = None) -> RunWeights:
    """Reads the checkpoint of a step; None: of the best score, or the newest where none has one.

    The run may be going on: nothing in its folder is touched. Raises ValueError where the folder
    is no run's, or has no such checkpoint.
    """
    folder = pathlib.Path(folder)
    experiment = read_experiment(folder)
    config = from_json(ModelConfig, json.dumps(experiment["model"]))
    with opened(folder) as manager:
        steps = sorted(manager.all_steps()) if manager else []
        if not steps:
            raise ValueError(f"{folder} has no checkpoint yet.")
        if step is None:
            best = manager.best_step()
            step = steps[-1] if best is None or score_of(manager, best) is None else best
        elif step not in steps:
            there = ", ".join(map(str, steps))
            raise ValueError(f"{folder} has no checkpoint of step {step}; there are: {there}.")
        score = score_of(manager, step)
        variables = read_averaged(manager, step, config)
    return RunWeights(
        params=Params(variables, config),
        step=step,
        score=score,
        name=experiment["name"],
        note=experiment["note"],
    )


def read_experiment(folder: pathlib.Path) -> dict:
    """What experiment.json says; its stages and its optimiser may be of any version."""
    path = folder / "experiment.json"
    if not path.is_file():
        raise ValueError(f"{folder} is no run's folder: it has no experiment.json.")
    try:
        experiment = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}.") from None
    missing = {"model", "name", "note"} - set(experiment)
    if missing:
        raise ValueError(f"{path} does not describe a run: it has no {', '.join(sorted(missing))}.")
    return experiment


@contextlib.contextmanager
def opened(folder: pathlib.Path) -> Iterator[ocp.CheckpointManager | None]:
    """The checkpoints of a run, to read; None where there is no folder of them."""
    path = (folder / "checkpoints").resolve()
    if not path.is_dir():
        yield None
        return
    # Nothing is cleaned up: what looks left over may be what the run is writing.
    options = ocp.CheckpointManagerOptions(create=False, best_fn=lambda metrics: metrics[SCORE])
    with ocp.CheckpointManager(path, options=options, item_names=("state",)) as manager:
        yield manager


def score_of(manager: ocp.CheckpointManager, step: int) -> float | None:
    """What a checkpoint scored; None where it was not validated."""
    score = (manager.metrics(step) or {}).get(SCORE, UNSCORED)
    return None if score == UNSCORED else score


def read_averaged(manager: ocp.CheckpointManager, step: int, config: ModelConfig) -> dict:
    """The part of a checkpoint that is used, {"params", "batch_stats"}, on the first device.

    Only these leaves are read, so that the optimiser need not be known.
    """
    shapes = abstract_variables(config)
    place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
        {"ema": shapes["params"], "batch_stats": shapes["batch_stats"]},
    )
    args = ocp.args.PyTreeRestore(
        item=like,
        restore_args=ocp.checkpoint_utils.construct_restore_args(like),
        partial_restore=True,
    )
    try:
        state = manager.restore(step, args=ocp.args.Composite(state=args))["state"]
    except Exception as error:  # Orbax raises whatever its storage raises
        raise ValueError(
            f"checkpoint {step} in {manager.directory} cannot be read ({one_line(error)}). "
            "Take another one."
        ) from error
    return {"params": state["ema"], "batch_stats": state["batch_stats"]}
