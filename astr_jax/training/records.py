"""What a run writes down as it goes: a log of lines, and TensorBoard's scalars and pictures."""

import contextlib
import json
import math
import os
import pathlib
from collections.abc import Mapping
from typing import SupportsFloat

import numpy as np
from jaxtyping import UInt8
from rich import print as say

from astr_jax.files import replacing

try:
    from tensorboardX import SummaryWriter
except ModuleNotFoundError:  # not on every machine with a GPU; the log has the scores too
    SummaryWriter = None

MOST_WAITING = 10_000  # events, of which a step has some dozens
FLUSH_SECONDS = 10  # TensorBoard's events of so long are lost with a kill; the log's are not


class Records:
    """Writes the scores of a run to `workdir`/log.jsonl, one line each, and to
    `workdir`/tensorboard, whose x axis is the number of training pairs.

        with Records(workdir) as records:
            records.resume(step)
            records.scalars(step, pairs, {"loss": 0.3})

    Where nothing can be written, on a full disk for one, or to TensorBoard without the package
    tensorboardX, this is said once and the run goes on. A line is on its way to the disk as soon as
    it is written. A last line that a kill cut short is dropped on opening. With enabled=False
    nothing is read or written: of several processes of a run one keeps the records.
    """

    def __init__(self, workdir: str | os.PathLike, *, enabled: bool = True):
        self.workdir, self.enabled = pathlib.Path(workdir), enabled
        self._log = self._board = None
        self._lost: set[str] = set()

    def __enter__(self) -> "Records":
        self._open(last_step=math.inf)
        return self

    def __exit__(self, *error) -> None:
        self._close()

    def resume(self, step: int) -> None:
        """Drops what was recorded of steps beyond the one that the run goes on from; 0: of all."""
        self._close()
        self._open(last_step=step)

    def scalars(
        self, step: int, pairs: int, values: Mapping[str, SupportsFloat], split: str = "train"
    ) -> None:
        """Records the scores after so many steps and pairs; split: "train" or "validation". Those
        that are not finite are left out."""
        if split not in ("train", "validation"):
            raise ValueError(f'split must be "train" or "validation"; got {split!r}.')
        if self._log is None:
            return
        values = {name: float(v) for name, v in values.items() if math.isfinite(v)}
        row = values if split == "train" else {split: values}
        with self._tolerated("log.jsonl"):
            self._log.write(json.dumps({"step": int(step), "pairs": int(pairs)} | row) + "\n")
        with self._tolerated("tensorboard"):
            for name, value in values.items():
                self._writer().add_scalar(tag(f"{split}/{name}"), value, pairs)

    def picture(self, pairs: int, name: str, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Records a picture after so many pairs, in TensorBoard alone."""
        if self._log is not None:
            with self._tolerated("tensorboard"):
                self._writer().add_image(tag(name), image, pairs, dataformats="HWC")

    def _open(self, last_step: float) -> None:
        if not self.enabled:
            return
        self.workdir.mkdir(parents=True, exist_ok=True)
        path = self.workdir / "log.jsonl"
        self._after = keep_rows(path, last_step)
        self._log = path.open("a", buffering=1)

    def _close(self) -> None:
        if self._log is not None:
            with self._tolerated("log.jsonl"):
                self._log.close()
        if self._board is not None and writes(self._board):
            self._board.close()
        self._log = self._board = None

    @contextlib.contextmanager
    def _tolerated(self, name: str):
        """Says once what could not be written, and goes on."""
        try:
            yield
        except OSError as error:
            if name not in self._lost:
                self._lost.add(name)
                say(f"[yellow]{self.workdir / name} cannot be written ({error}). The run goes on.")

    def _writer(self) -> "SummaryWriter":
        """The file of events, made at the first one: it makes TensorBoard forget those of other
        files that lie beyond the log's last line."""
        if SummaryWriter is None:
            raise OSError("the package tensorboardX is not installed")
        if self._board is None:
            folder = self.workdir / "tensorboard"
            # Files are named by the second: the number keeps those of one second apart.
            self._board = SummaryWriter(
                str(folder),
                purge_step=self._after,
                flush_secs=FLUSH_SECONDS,
                max_queue=MOST_WAITING,
                filename_suffix=f".{len(list(folder.glob('*')))}",
            )
        if not writes(self._board):
            raise OSError("its writer has ended; is the disk full?")
        return self._board


def writes(board: "SummaryWriter") -> bool:
    """Whether the thread lives that writes the events: without it, a full queue blocks for ever."""
    return board.file_writer.event_writer._worker.is_alive()


def tag(name: str) -> str:
    """A score's name as TensorBoard takes it, which knows no "@"."""
    return name.replace("@", "_at_")


def keep_rows(path: pathlib.Path, last_step: float) -> int:
    """Drops from a log the lines that are no whole rows, and those of steps beyond last_step.

    Returns the number of pairs after the last one that stays: that of the next row, at least.
    """
    text = path.read_bytes() if path.exists() else b""
    kept, pairs = [], -1
    for line in text.splitlines(keepends=True):
        row = read_row(line)
        if row is not None and row.get("step", 0) <= last_step:
            kept.append(line)
            pairs = row["pairs"]
    if b"".join(kept) != text:
        with replacing(path) as beside:
            beside.write_bytes(b"".join(kept))
    return pairs + 1


def read_row(line: bytes) -> dict | None:
    """The row of a line with its end; None where it was cut short or is none."""
    try:
        row = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return row if isinstance(row, dict) and "pairs" in row else None
