"""How times and memory grow with the number of pixels."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from astr_jax.viz import panels

COLOURS = ("#4aa8ff", "#ffb454", "#3ddc97", "#f0476f", "#b79cff", "#9aa0a8", "#6be5ff", "#f2f0ea")
Lines = Mapping[str, Sequence[float | None]]  # a value at each number of pixels


def draw_growth(
    pixels: Sequence[float], names: Sequence[str], panes: Mapping[tuple[str, str], Lines]
) -> Figure:
    """A pane for each group of lines, under (title, unit), on logarithmic axes.

    pixels: of an image, one for each size; names: how the sizes are called. What is not above 0 or
    not known (None) is left out. The dotted line grows with the pixels.
    """
    figure = panels.new_figure(4.7 * len(panes), 4.6)
    figure.set_layout_engine("constrained")
    for axes, ((title, unit), lines) in zip(
        np.ravel(figure.subplots(1, len(panes))), panes.items(), strict=True
    ):
        _pane(axes, np.asarray(pixels, float), lines)
        axes.set_title(title, color=panels.INK, size=11, loc="left")
        axes.set_ylabel(unit, color=panels.FAINT, size=9.5)
        axes.set_xticks(pixels, names)
    return figure


def _pane(axes: Axes, pixels: np.ndarray, lines: Lines) -> None:
    axes.set(xscale="log", yscale="log", facecolor=panels.GROUND)
    lowest, highest = np.inf, 0.0
    for number, (label, values) in enumerate(lines.items()):
        y = np.array([np.nan if value is None else value for value in values], float)
        shown = y > 0
        if shown.any():
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(pixels[shown], y[shown], color=colour, marker="o", ms=4, lw=1.6, label=label)
            lowest, highest = min(lowest, y[shown].min()), max(highest, y[shown].max())
    if highest:
        start = np.sqrt(lowest * highest) * np.sqrt(pixels[0] / pixels[-1])
        line = start * pixels / pixels[0]
        axes.plot(pixels, line, color=panels.FAINT, ls=":", lw=1.2, label="as the pixels")
        axes.set_ylim(lowest / 1.5, highest * (highest / lowest) ** 0.45 * 1.5)  # for the legend
        axes.legend(frameon=False, labelcolor=panels.INK, fontsize=8.5, loc="upper left")
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.tick_params(colors=panels.FAINT, labelsize=8.5)
    axes.tick_params(axis="x", rotation=30)
    axes.grid(color=panels.FAINT, alpha=0.2)
    for spine in axes.spines.values():
        spine.set_visible(False)
