"""Checkpoints of a run: Orbax, written beside and renamed, the newest two and the best kept."""

import json
import logging
import pathlib

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN
from rich import print as say

from astr_jax.training.step import TrainState

SCORE = "score"
UNSCORED = -1.0  # of a checkpoint that was not validated; scores are not negative


class Checkpoints:
    """The checkpoints of one run, in `workdir`/checkpoints; of all its processes together."""

    def __init__(self, workdir: pathlib.Path, keep: int = 2):

        def score_of(metrics: dict[str, float]) -> float:
            return metrics[SCORE]

        best = BestN(get_metric_fn=score_of, n=1)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=AnyPreservationPolicy([LatestN(keep), best]),
            best_fn=score_of,
            cleanup_tmp_directories=True,
            enable_async_checkpointing=True,
        )
        folder = (workdir / "checkpoints").resolve()
        forget_damaged_scores(folder)
        # A failed write is told once, by save; asyncio would tell it for every array.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        self.manager = ocp.CheckpointManager(folder, options=options, item_names=("state",))

    def steps(self) -> list[int]:
        """The steps that are there, in their order."""
        return sorted(self.manager.all_steps())

    def best_step(self) -> int | None:
        """The step whose weights scored best; None where none was scored."""
        step = self.manager.best_step()
        return None if step is None or self.score(step) is None else step

    def score(self, step: int) -> float | None:
        """What a checkpoint scored; None where it was not validated."""
        score = (self.manager.metrics(step) or {}).get(SCORE, UNSCORED)
        return None if score == UNSCORED else score

    def save(self, state: TrainState, score: float | None = None) -> None:
        """Starts to write the state; returns before it is done.

        score: of its averaged weights, the more the better. Where a checkpoint cannot be written,
        on a full disk for one, the run is told so and goes on: those before are left as they are.
        """
        step = int(state.step)
        if step in self.manager.all_steps():
            return
        metrics = {SCORE: UNSCORED if score is None else score}
        args = ocp.args.Composite(state=ocp.args.StandardSave(state))
        try:
            self.manager.save(step, args=args, metrics=metrics)
        except Exception as error:  # also what the writing of the one before has raised
            self._say_unwritten(step, error)

    def restore(self, like: TrainState) -> TrainState | None:
        """The newest readable checkpoint, or None where there is none at all.

        like: shapes and shardings; the devices may be others than those that it was written on. A
        damaged one is named and removed, and the one before is taken. Raises ValueError where none
        of several can be read: a run is not started over in silence.
        """
        unreadable = []
        for step in reversed(self.steps()):
            try:
                state = self.read(step, like)
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

    def read(self, step: int, like: TrainState) -> TrainState:
        """The checkpoint of a step. Raises what its storage raises."""
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(target))
        return self.manager.restore(step, args=args)["state"]

    def close(self) -> None:
        """Waits until everything is on disk."""
        try:
            self.manager.wait_until_finished()
        except Exception as error:
            self._say_unwritten("the newest", error)
        self.manager.close()

    def _say_unwritten(self, step: int | str, error: Exception) -> None:
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        say(f"[yellow]Checkpoint {step} was not written ({problem}). The run goes on without it.")


def forget_damaged_scores(folder: pathlib.Path) -> None:
    """Makes checkpoints whose score cannot be read unscored: Orbax reads all scores at once, and
    one that is damaged would keep every other checkpoint from being found."""
    for path in folder.glob("*/metrics/metrics"):
        try:
            float(json.loads(path.read_text())[SCORE])
        except (ValueError, TypeError, KeyError):
            path.write_text(json.dumps({SCORE: UNSCORED}))
