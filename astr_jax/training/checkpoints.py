"""Checkpoints of a run: Orbax, written beside and renamed, the newest two and the best kept."""

import json
import logging
import pathlib

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN
from rich import print as say

from astr_jax.training import devices
from astr_jax.training.step import TrainState
from pallas_kernels.target import one_line

SCORE = "score"
UNSCORED = -1.0  # of a checkpoint that was not validated; scores are not negative


class Checkpoints:
    """The checkpoints of one run, in `workdir`/checkpoints.

    Of several processes the first writes and reads, since all have the same state: the folder need
    not be shared, and a write that fails fails for all alike.
    """

    def __init__(self, workdir: pathlib.Path, keep: int = 2):
        self.folder = (workdir / "checkpoints").resolve()
        self.manager = make_manager(self.folder, keep) if devices.is_first() else None

    def steps(self) -> list[int]:
        """The steps that are there, in their order; none but on the first process."""
        return sorted(self.manager.all_steps()) if self.manager else []

    def save(self, state: TrainState, score: float | None = None) -> None:
        """Starts to write the state; returns before it is done.

        score: of its averaged weights, the more the better. Where a checkpoint cannot be written,
        on a full disk for one, the run is told so and goes on: those before are left as they are.
        """
        if self.manager is None or (step := int(state.step)) in self.manager.all_steps():
            return
        if jax.process_count() > 1:
            # Orbax, of several processes, writes NumPy's arrays but not those of one device.
            state = jax.device_get(state)
        metrics = {SCORE: UNSCORED if score is None else score}
        args = ocp.args.Composite(state=ocp.args.StandardSave(state))
        for trial in (1, 2):
            try:
                self.manager.save(step, args=args, metrics=metrics)
                return
            except Exception as error:  # first what the writing of the one before has raised
                say_unwritten("the one before" if trial == 1 else step, error)

    def restore(self, like: TrainState) -> TrainState | None:
        """The newest readable checkpoint, or None where there is none at all.

        like: shapes and shardings; the devices may be others than those that it was written on. A
        damaged one is named and removed, and the one before is taken. Raises ValueError where none
        of several can be read: a run is not started over in silence.
        """
        if jax.process_count() == 1:
            return self._newest(like)
        state, local = None, jax.tree.map(devices.on_local_device, like)
        if devices.is_first():
            state = self._newest(local)
        if devices.from_first(float(state is not None)) == 0:
            return None
        if state is None:
            state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), local)
        state = multihost_utils.broadcast_one_to_all(jax.device_get(state))
        return jax.tree.map(lambda x, y: jax.device_put(x, y.sharding), state, like)

    def _newest(self, like: TrainState) -> TrainState | None:
        unreadable = []
        for step in reversed(self.steps()):
            try:
                state = self.read(step, like)
            except Exception as error:  # Orbax raises whatever its storage raises
                say(
                    f"[yellow]Checkpoint {step} cannot be read ({one_line(error)}); trying the one "
                    "before."
                )
                unreadable.append(step)
                continue
            for newer in unreadable:  # else they would stand in the way of saving
                self.manager.delete(newer)
            return state
        if unreadable:
            raise ValueError(
                f"None of the checkpoints {unreadable} in {self.folder} can be read. "
                "Move them away to start over."
            )
        return None

    def read(self, step: int, like: TrainState) -> TrainState:
        """The checkpoint of a step. Raises what its storage raises."""
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(target))
        return self.manager.restore(step, args=args)["state"]

    def close(self) -> None:
        """Waits until everything is on disk."""
        if self.manager is None:
            return
        try:
            self.manager.wait_until_finished()
        except Exception as error:
            say_unwritten("the newest", error)
        self.manager.close()


def make_manager(folder: pathlib.Path, keep: int) -> ocp.CheckpointManager:
    """Orbax's manager of a folder, of this process alone."""

    def score_of(metrics: dict[str, float]) -> float:
        return metrics[SCORE]

    forget_damaged_scores(folder)
    # A failed write is told once, by save; asyncio would tell it for every array.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    alone = {}
    if jax.process_count() > 1:
        folder.mkdir(parents=True, exist_ok=True)
        me = jax.process_index()
        only = ocp.options.MultiprocessingOptions(
            primary_host=me, active_processes={me}, barrier_sync_key_prefix="first"
        )
        alone = {"multiprocessing_options": only, "create": False}
    options = ocp.CheckpointManagerOptions(
        preservation_policy=AnyPreservationPolicy(
            [LatestN(keep), BestN(get_metric_fn=score_of, n=1)]
        ),
        best_fn=score_of,
        cleanup_tmp_directories=True,
        enable_async_checkpointing=True,
        **alone,
    )
    return ocp.CheckpointManager(folder, options=options, item_names=("state",))


def say_unwritten(which: int | str, error: Exception) -> None:
    """Says that a checkpoint is not there, and why."""
    say(
        f"[yellow]Checkpoint {which} was not written ({one_line(error)}). The run goes on without "
        "it."
    )


def forget_damaged_scores(folder: pathlib.Path) -> None:
    """Makes checkpoints whose score cannot be read unscored: Orbax reads all scores at once, and
    one that is damaged would keep every other checkpoint from being found."""
    for path in folder.glob("*/metrics/metrics"):
        try:
            float(json.loads(path.read_text())[SCORE])
        except (ValueError, TypeError, KeyError):
            path.write_text(json.dumps({SCORE: UNSCORED}))
