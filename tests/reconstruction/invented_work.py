"""Work for engines, without a network; a module of its own, for the processes that do it."""

import dataclasses
import os
import pathlib
import signal

from astr_jax.evaluation.studies.invented_world import World
from astr_jax.reconstruction.engines import Work

WORLD = World(images=20, partners=3, keypoints=120)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InventedWork(Work):
    """Matches WORLD. deadly: a file; the worker that makes it dies of it, one chunk later."""

    deadly: pathlib.Path | None = None
    bad: bool = False

    def worker(self):
        done = []

        def match(chunk):
            if self.bad:
                raise ValueError("a.jpg cannot be read.")
            if self.deadly is not None and done and not self.deadly.exists():
                self.deadly.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            done.append(chunk)
            return [WORLD.matches(pair) for pair in chunk]

        return match
