"""The scores of sweeps as tables and as a figure."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from rich import box
from rich.table import Table

from astr_jax.evaluation.reports.figures import COLOURS
from astr_jax.evaluation.studies.sweeps import MEASURES, SWEEPS, Sweeps

PANEL = 3.7, 2.6  # inches
LINES = ("-", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)))  # so that none hides another


def tables_of(rows: Sequence[dict], sweeps: Sweeps) -> list[Table]:
    """A table per sweep: amounts down, matchers across."""
    tables = []
    for sweep, amounts in sweeps.items():
        table = Table(title=SWEEPS[sweep][0], box=box.SIMPLE_HEAD)
        own = [row for row in rows if row["sweep"] == sweep]
        names = list(dict.fromkeys(row["matcher"] for row in own))
        for column in (sweep, "seen %", *(f"{n}: right % / right / solved %" for n in names)):
            table.add_column(column, justify="right", no_wrap=True)
        for amount in amounts:
            at = [row for row in own if row["amount"] == amount]
            table.add_row(f"{amount:g}", f"{100 * at[0]['seen']:.0f}", *map(_cell, at))
        tables.append(table)
    return tables


def _cell(row: dict) -> str:
    precision, right, solved = (row[name][0] for name in MEASURES)
    return f"{100 * precision:.1f} / {right:4.0f} / {100 * solved:3.0f}"


def draw_sweeps(rows: Sequence[dict], sweeps: Sweeps) -> Figure:
    """A row of panels per sweep, a column per measure; a line with its interval per matcher."""
    size = PANEL[0] * len(MEASURES), PANEL[1] * len(sweeps) + 0.7
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
    grid = figure.subplots(len(sweeps), len(MEASURES), squeeze=False)
    names = list(dict.fromkeys(row["matcher"] for row in rows))
    for line, (sweep, panes) in enumerate(zip(sweeps, grid, strict=True)):
        for pane, measure in zip(panes, MEASURES, strict=True):
            for number, name in enumerate(names):
                own = [r for r in rows if r["matcher"] == name and r["sweep"] == sweep]
                values = np.array([(r["amount"], *r[measure]) for r in own])
                _band(pane, values, number, name)
            if sweep == "rotation":
                pane.xaxis.set_major_locator(MultipleLocator(45))
            title, unit, *_ = MEASURES[measure]
            pane.set(xlabel=SWEEPS[sweep][0], ylabel=unit)
            pane.set_ylim(0, None if measure == "right" else 1.04)
            pane.spines[["top", "right"]].set_visible(False)
            pane.grid(alpha=0.2)
            if line == 0:
                pane.set_title(title, fontsize=11)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    count = len(rows[0]["photographs"])
    figure.legend(
        handles,
        labels,
        title=f"{count} photographs; bands: 95 % interval, bootstrap over photographs",
        loc="outside upper center",
        ncols=min(len(names), 5),
        frameon=False,
    )
    return figure


def _band(pane: Axes, values: np.ndarray, number: int, label: str) -> None:
    """values [n 4]: the amount, and a measure with the ends of its interval."""
    x, y, low, high = values.T
    colour, dashes = COLOURS[number % len(COLOURS)], LINES[number % len(LINES)]
    pane.fill_between(x, low, high, color=colour, alpha=0.12, lw=0)
    pane.plot(x, y, color=colour, lw=1.8, ls=dashes, label=label)
    pane.plot(x, y, color=colour, lw=0, marker="o", ms=3.5, clip_on=False)
