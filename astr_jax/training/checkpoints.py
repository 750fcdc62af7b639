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
        """The newest readable checkpoint, or None where there is none.

        A damaged one is named and the one before is taken.
        """
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(target))
        for step in sorted(self.manager.all_steps(), reverse=True):
            try:
                return self.manager.restore(step, args=args)["state"]
            except Exception as error:  # Orbax raises whatever its storage raises
                say(f"[yellow]Checkpoint {step} cannot be read ({error}); trying the one before.")
        return None

    def close(self) -> None:
        """Waits until everything is on disk."""
        self.manager.wait_until_finished()
        self.manager.close()
