"""The scores of phases and scales as tables and as a figure."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from astr_jax.evaluation.reports.figures import COLOURS
from astr_jax.evaluation.studies.phases import NEAR, PERIOD, RIGHT, Case, PhaseScore, worst

Scores = dict[Case, PhaseScore]
PANEL = 2.9  # inches
MAPS: dict[str, tuple[Callable[[PhaseScore], float], float]] = {  # title -> value, end of colours
    "matches": (lambda score: score.matches, 0),
    f"within {NEAR:g} px": (lambda score: score.near, 1),
    "bias, px": (lambda score: float(np.abs(score.bias).max()), 2),
    "spread, px": (lambda score: float(np.max(score.spread)), 2),
    "within sigma": (lambda score: score.within_sigma, 1),
}


def phase_tables(scores: dict[str, Scores]) -> str:
    """Markdown: the worst of the 64 phases, a row for each matcher; then each scale."""
    heads = ("worst of 64 shifts", "matches, of those unmoved", f"within {NEAR:g} px")
    rows = [_worst_cells(name, of_matcher) for name, of_matcher in scores.items()]
    tables = [_markdown((*heads, "bias, px", "errors within sigma"), rows)]
    heads = [f"{name}: matches / within {RIGHT:g} px / bias / within sigma" for name in scores]
    rows = [
        (f"{case.scale:.2f}", *(_cell(of_matcher[case]) for of_matcher in scores.values()))
        for case in _scales(next(iter(scores.values())))
    ]
    return "\n\n".join([*tables, _markdown(("scale of image 1", *heads), rows)])


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruler = ("---", *("---:" for _ in heads[1:]))
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ruler, *rows))


def _worst_cells(name: str, of_matcher: Scores) -> tuple[str, ...]:
    found = worst(of_matcher)
    low, high = found["least within sigma"], found["most within sigma"]
    return (
        name,
        f"{100 * found['matches']:.0f} %",
        f"{100 * found['near']:.1f} %",
        f"{found['bias']:.2f}",
        "-" if np.isnan(low) else f"{100 * low:.0f} to {100 * high:.0f} %",
    )


def _cell(score: PhaseScore) -> str:
    bias = float(np.abs(score.bias).max())
    within = "-" if np.isnan(score.within_sigma) else f"{100 * score.within_sigma:.0f} %"
    return f"{score.matches} / {100 * score.right:.0f} % / {bias:.2f} px / {within}"


def draw_phases(scores: dict[str, Scores]) -> Figure:
    """A row of maps for each matcher, over the phases; below, lines over the scales."""
    rows = len(scores) + 1
    figure = Figure(figsize=(PANEL * len(MAPS), PANEL * rows), layout="constrained")
    grid = figure.subplots(rows, len(MAPS), squeeze=False)
    for panes, (name, of_matcher) in zip(grid, scores.items(), strict=False):
        for pane, (title, (value, end)) in zip(panes, MAPS.items(), strict=True):
            _map(pane, _over_phases(of_matcher, value), f"{name}: {title}", end)
    for pane, (title, (value, _)) in zip(grid[-1], MAPS.items(), strict=True):
        for (name, of_matcher), colour in zip(scores.items(), COLOURS, strict=False):
            cases = _scales(of_matcher)
            values = [value(of_matcher[case]) for case in cases]
            pane.plot([case.scale for case in cases], values, "o-", color=colour, label=name)
        pane.set(xlabel="scale of image 1 over image 0", title=title, xscale="log")
        pane.set_xticks([0.25, 0.5, 1, 2, 4], ["1/4", "1/2", "1", "2", "4"], minor=False)
        pane.minorticks_off()
        pane.set_ylim(bottom=0)
        pane.spines[["top", "right"]].set_visible(False)
        pane.grid(alpha=0.2)
    grid[-1, 0].legend(frameon=False)
    return figure


def _map(pane, values: Float[np.ndarray, "8 8"], title: str, end: float) -> None:
    """An 8 x 8 map; end: of its colours, 0 for the largest value."""
    end = end or float(np.nanmax(values)) or 1.0
    shown = pane.imshow(values, vmin=0, vmax=end, cmap="viridis", origin="lower")
    pane.set(title=title, xlabel="moved in x, px", ylabel="moved in y, px")
    pane.figure.colorbar(shown, ax=pane, shrink=0.8)


def _over_phases(scores: Scores, value: Callable[[PhaseScore], float]) -> np.ndarray:
    line = range(PERIOD)
    rows = [[value(scores[Case((x, y), 1.0)]) for x in line] for y in line]
    return np.array(rows, float)


def _scales(scores: Scores) -> list[Case]:
    """The cases without a shift, by scale."""
    return sorted((case for case in scores if case.shift == (0, 0)), key=lambda case: case.scale)
