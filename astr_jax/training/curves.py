"""Draws a run's losses and scores."""

import pathlib

from matplotlib.figure import Figure

from astr_jax.training.records import read_row

PANELS = (
    ("loss", "loss", False),
    ("recall", "recall of true cells", True),
    ("precision", "precision of matches", True),
    ("fine_px", "median error of the fine stage, px", True),
)


def read_log(path: pathlib.Path) -> tuple[list[dict], list[dict]]:
    """The training and the validation rows of a log, each with its number of pairs.

    Where the pairs go back, after a restart, the rows beyond are dropped: that stretch was run
    again. A last line cut short by a kill is left out.
    """
    rows = []
    for line in path.read_bytes().splitlines(keepends=True):
        row = read_row(line)
        if row is None:
            continue
        while rows and rows[-1]["pairs"] > row["pairs"]:
            rows.pop()
        rows.append(row)
    training = {row["pairs"]: row for row in rows if "validation" not in row}
    validation = {
        row["pairs"]: row["validation"] | {"pairs": row["pairs"]}
        for row in rows
        if "validation" in row
    }
    return [training[k] for k in sorted(training)], [validation[k] for k in sorted(validation)]


def draw_curves(training: list[dict], validation: list[dict]) -> Figure:
    """Losses and scores against training pairs."""
    figure = Figure(figsize=(11, 6), dpi=130, layout="constrained")
    for axes, (name, title, zero) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        for rows, style, label in (
            (training, {"lw": 0.7, "alpha": 0.6}, "training"),
            (validation, {"marker": "o", "ms": 3.5}, "validation (averaged weights)"),
        ):
            points = [(row["pairs"] / 1000, row[name]) for row in rows if name in row]
            if points:
                axes.plot(*zip(*points, strict=True), label=label, **style)
        axes.set(title=title, xlabel="training pairs, thousands")
        if zero:
            axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    figure.axes[0].legend(frameon=False)
    return figure
