"""Checkpoints of a run: Orbax, atomic, the newest few kept."""

import pathlib

import jax
import orbax.checkpoint as ocp
from rich import print as say

from astr_jax.training.step import TrainState


class Checkpoints:
    """The checkpoints of one run, in `workdir`/checkpoints."""

    def __init__(self, workdir: pathlib.Path, keep: int = 2):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=True)
        self.manager = ocp.CheckpointManager(
            (workdir / "checkpoints").resolve(), options=options, item_names=("state",)
        )

    def save(self, state: TrainState) -> None:
        """Starts to write the state; returns before it is done."""
        step = int(state.step)
        if step not in self.manager.all_steps():
            self.manager.save(step, args=ocp.args.Composite(state=ocp.args.StandardSave(state)))

    def restore(self, like: TrainState) -> TrainState | None:
        """The newest readable checkpoint, or None where there is none at all.

        A damaged one is named and removed, and the one before is taken. Raises ValueError where
        none of several can be read: a run is not started over in silence.
        """
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(target))
        unreadable = []
        for step in sorted(self.manager.all_steps(), reverse=True):
            try:
                state = self.manager.restore(step, args=args)["state"]
            except Exception as error:  # Orbax raises whatever its storage raises
                problem = str(error).splitlines()[0]
                say(f"[yellow]Checkpoint {step} cannot be read ({problem}); trying the one before.")
                unreadable.append(step)
                continue
            for newer in unreadable:  # else they would stand in the way of saving
                self.manager.delete(newer)
            return state
        if unreadable:
            raise ValueError(
                f"None of the checkpoints {unreadable} in {self.manager.directory} can be read. "
                "Move them away to start over."
            )
        return None

    def close(self) -> None:
        """Waits until everything is on disk."""
        self.manager.wait_until_finished()
        self.manager.close()
