"""A run that has so much time, and not so many pairs: its stages and its learning rate follow it.

Each stage has the share of the time that its pairs are of the run's, and its difficulty grows over
that. The learning rate warms up by pairs, as ever, and falls as a cosine over all of the time.
"""

import dataclasses
import math
import pathlib
import time

import jax

from astr_jax.training.experiment import Experiment

UNENDING = 10**8  # pairs of a stage that only the clock ends


class Every:
    """Says so once in so many seconds."""

    def __init__(self, seconds: float):
        self.seconds, self.last = seconds, time.monotonic()

    def due(self) -> bool:
        """Whether they have passed since it last was."""
        now = time.monotonic()
        if now - self.last < self.seconds:
            return False
        self.last = now
        return True


@dataclasses.dataclass(frozen=True)
class Clock:
    """Where a run stands in its time."""

    began: float  # by time.monotonic()
    seconds: float
    ends: tuple[float, ...]  # of the stages, shares of the time
    least: float  # of the learning rate, a share of its peak

    @classmethod
    def of(cls, experiment: Experiment, seconds: float) -> "Clock":
        """The clock of a run that begins now."""
        pairs = [stage.pairs for stage in experiment.stages]
        ends = tuple(sum(pairs[: k + 1]) / sum(pairs) for k in range(len(pairs)))
        least = experiment.train.least_learning_rate / experiment.train.learning_rate
        return cls(time.monotonic(), seconds, ends, min(1.0, least))

    def share(self) -> float:
        """Of the time, how much has passed."""
        return min(1.0, (time.monotonic() - self.began) / self.seconds)

    def within(self, number: int) -> float:
        """Of the time of a stage, how much has passed; 1 when it is over."""
        begin = self.ends[number - 1] if number else 0.0
        return min(1.0, max(0.0, (self.share() - begin) / (self.ends[number] - begin)))

    def rate(self) -> float:
        """The learning rate, as a share of its peak."""
        return self.least + (1 - self.least) * (1 + math.cos(math.pi * self.share())) / 2


def check_clock(minutes: float | None, workdir: pathlib.Path) -> None:
    """Raises ValueError where a run cannot follow the clock."""
    if minutes is None or not minutes > 0:
        raise ValueError(f"A run by the clock needs its minutes, above 0; got {minutes}.")
    if jax.process_count() > 1:
        raise ValueError("A run by the clock is of one process: their clocks differ.")
    if (workdir / "experiment.json").exists():
        raise ValueError(
            f"{workdir} holds a run already, and one by the clock is one piece: take a new "
            "--workdir, with --init where it should go on from weights."
        )


def unending(experiment: Experiment) -> Experiment:
    """The experiment with stages that only the clock ends, and a rate that it alone lowers."""
    if experiment.train.start_pairs or experiment.train.halve_at:
        raise ValueError(
            "start_pairs and halve_at say what happens after so many pairs: a run by the clock "
            "has none of them."
        )
    stages = [dataclasses.replace(stage, pairs=UNENDING) for stage in experiment.stages]
    train = dataclasses.replace(
        experiment.train, least_learning_rate=experiment.train.learning_rate
    )
    return dataclasses.replace(experiment, stages=tuple(stages), train=train)


def ended(experiment: Experiment, number: int, steps: int) -> Experiment:
    """The experiment whose stage of a number was so many steps long."""
    stages = list(experiment.stages)
    pairs = steps * stages[number].batch_size
    stages[number] = dataclasses.replace(stages[number], pairs=pairs)
    return dataclasses.replace(experiment, stages=tuple(stages))
