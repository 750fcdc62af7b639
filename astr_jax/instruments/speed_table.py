"""What was timed, at each size, as one table: tasks down, sizes across."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from rich import box
from rich.table import Table

from astr_jax.instruments.machine import machine_words
from astr_jax.instruments.peak_memory import Peak
from astr_jax.instruments.rivals import ONNX, RIVALS
from astr_jax.instruments.timing import (
    DEFAULT,
    FINE,
    POLISH,
    REFINE,
    WHOLE,
    Seconds,
    Timing,
    longer,
)

RATIO = "scale ratio"
STAGES = {  # and what the table calls them
    "encode": "encode, one image",
    "first look": "first look, both images",
    "coarse": "coarse",
    RATIO: "scale ratio",
    FINE: "fine",
    POLISH: "least-squares matching",
}
MATCHES = {name: f"match, {name}" for name in WHOLE}
LABELS = STAGES | MATCHES | {name: name for name in RIVALS}
BESIDE = {ONNX: "scales=1"}  # the match that a rival is compared with, where not the default
HEAD = "seconds / CPU seconds"


def row_of(
    pictures: tuple[UInt8[np.ndarray, "_ _"], UInt8[np.ndarray, "_ _"]],
    timings: Mapping[str, Timing],
    scales: Sequence[float],
    matches: int,
    peak: Peak | None,
) -> dict:
    """All about one size, fit for JSON. scales: that the default match was done at."""
    medians = {name: timing.median for name, timing in timings.items()}
    medians[RATIO] = longer(timings[REFINE], timings[FINE])
    return {
        "pictures": [list(picture.shape) for picture in pictures],
        "pixels": sum(picture.size for picture in pictures) / 2,
        "scales": list(scales),
        "matches": matches,
        "seconds": {name: vars(seconds) for name, seconds in medians.items()},
        "compiling": timings[DEFAULT].compiling,
        "memory_mib": None if peak is None else vars(peak),
        "runs": {
            name: {"first": vars(timing.first), "after": [vars(run) for run in timing.runs]}
            for name, timing in timings.items()
        },
    }


def lines_of(rows: Sequence[dict]) -> list[list[str]]:
    """The table in words, its head first."""
    lines = [[HEAD, *map(_sizes, rows)]]
    for name, label in LABELS.items():
        if any(name in row["seconds"] for row in rows):
            lines.append([label, *(_seconds(row["seconds"], name) for row in rows)])
    lines.append(["compiling the default match", *(f"{row['compiling']:.1f}" for row in rows)])
    lines.append(["peak memory, MiB", *(_memory(row["memory_mib"]) for row in rows)])
    lines.append(["matches, at scales", *map(_matches, rows)])
    return lines


def _sizes(row: dict) -> str:
    sizes = dict.fromkeys(f"{width} x {height}" for height, width in row["pictures"])
    return " and ".join(sizes)


def _seconds(found: Mapping[str, dict], name: str) -> str:
    """Both times; of another matcher also by how much it is quicker or slower."""
    if name not in found:
        return "-"
    seconds = Seconds(**found[name])
    words = f"{seconds.wall:.3f} / {seconds.cpu:.3f}"
    if name in RIVALS:
        own = found[BESIDE.get(name, DEFAULT)]
        words += f" ({seconds.wall / own['wall']:.2f} x)"
    return words


def _memory(memory: dict | None) -> str:
    if memory is None:
        return "-"
    words = f"{memory['process']:,.0f} ({memory['before']:,.0f} before)"
    return words + (f", device {memory['device']:,.0f}" if memory["device"] is not None else "")


def _matches(row: dict) -> str:
    return f"{row['matches']:,}, at {', '.join(f'{scale:g}' for scale in row['scales'])}"


def notes_of(report: dict) -> list[str]:
    """What must be known to read the table."""
    rows, settings = report["sizes"], report["settings"]
    there = [name for name in RIVALS if any(name in row["seconds"] for row in rows)]
    notes = [
        f"Machine: {machine_words(report['machine'])}.",
        f"Pictures: {settings['pictures']}. Weights: {settings['weights']}.",
        f"Seconds by the clock, and CPU seconds of all threads: medians of {settings['repeat']} "
        "calls of each task in turns (A B C A B C), after a call of each that compiles.",
        "Scale ratio: refining with estimated ratios less refining with given ones, round by "
        "round. Fine: with given ones. The look encodes anew.",
        "Peak memory: of a process that matches once by the default, with all it holds (Python, "
        "JAX, weights, programs that are compiled already); before: the same before the match.",
    ]
    notes += [f"{name}: {RIVALS[name]}." for name in there]
    beside = f", {ONNX} of one, {BESIDE[ONNX]}" if ONNX in there else ""
    return notes + [f"(x): times as long as a match, {DEFAULT}{beside}."] * bool(there)


def screen_table(report: dict) -> Table:
    """For the terminal."""
    head, *lines = lines_of(report["sizes"])
    table = Table(box=box.SIMPLE_HEAD, title=f"a match, {report['settings']['weights']}")
    table.add_column(head[0], no_wrap=True)
    for size in head[1:]:
        table.add_column(size, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    return table


def markdown_table(report: dict) -> str:
    """The same with its notes, for a page."""
    head, *lines = lines_of(report["sizes"])
    rows = [head, ["---", *["---:"] * (len(head) - 1)], *lines]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{table}\n\n" + "\n".join(f"- {note}" for note in notes_of(report))
