"""What a person sees of a run, and how one stops it: progress, scores in short, signals."""

import contextlib
import signal
import threading
from collections.abc import Iterator

from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column


def short(means: dict[str, float]) -> str:
    """The scores beside the progress."""
    names = ("loss", "precision", "recall", "fine_px")
    scores = [f"{name} {means[name]:.3g}" for name in names if name in means]
    bad = f"  [red]{means['bad']:.0%} of the steps were not finite" if means["bad"] else ""
    return "  ".join([*scores, f"{means['pairs_per_second']:.3g} pairs/s"]) + bad


def progress_bar(*, disable: bool = False) -> Progress:
    """Pairs done, time left, and the newest scores, which fold where the terminal is narrow."""
    return Progress(
        TextColumn("{task.description}"),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[scores]}", table_column=Column(no_wrap=False)),
        disable=disable,
        speed_estimate_period=1800,  # a step may take longer than the default of 30 seconds
    )


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Yields a list that is non-empty once SIGTERM or SIGINT has come; a second SIGINT kills.

    Beside the main thread, where Python takes no handlers, it stays empty.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def note(number, frame):
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    old = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
