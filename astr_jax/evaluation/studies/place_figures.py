"""What the matches of pairs tell of places, as a table and as a figure."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from astr_jax.evaluation.reports.figures import COLOURS
from astr_jax.evaluation.scores.roc import area_interval, roc_of
from astr_jax.evaluation.studies.places import SCORES, PlaceRecord

FEW = 0.01  # share of the pairs with nothing in common that may pass
LIKELY = 0.5  # a pair score from which on a pair counts as one of one place


def values_of(name: str, records: Sequence[PlaceRecord]) -> Float[np.ndarray, " k"]:
    """One of the SCORES of every pair."""
    return np.array([SCORES[name](record) for record in records], np.float64)


def places_table(records: Sequence[PlaceRecord]) -> str:
    """Markdown: the area of each score, of all pairs and of the pairs of each set against all that
    have nothing in common; and what the pair score finds."""
    apart = [record for record in records if not record.same]
    sets = sorted({record.set0 for record in records if record.same})
    head = ["pairs of one place", "pairs", *(f"{name}: area" for name in SCORES)]
    head += [f"found where {FEW:.0%} of the others pass", f"pair score over {LIKELY:g}"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for name in (*sets, "all"):
        own = [record for record in records if record.same and name in (record.set0, "all")]
        lines.append([name, str(len(own)), *_cells(own, apart, whole=name == "all")])
    passing = (values_of("pair score", apart) > LIKELY).mean()
    rest = [""] * (len(SCORES) + 1)
    lines.append(["nothing in common", str(len(apart)), *rest, f"{passing:.1%}"])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(own: Sequence[PlaceRecord], apart: Sequence[PlaceRecord], *, whole: bool) -> list[str]:
    both = [*own, *apart]
    same = np.array([record.same for record in both])
    cells = []
    for name in SCORES:
        values = values_of(name, both)
        cell = f"{roc_of(values, same).area:.3f}"
        if whole:
            low, high = area_interval(values, same)
            cell += f" [{low:.3f}, {high:.3f}]"
        cells.append(cell)
    scores = values_of("pair score", both)
    found = roc_of(scores, same).true_at(FEW)
    return [*cells, f"{found:.1%}", f"{(scores[: len(own)] > LIKELY).mean():.1%}"]


def draw_places(records: Sequence[PlaceRecord]) -> Figure:
    """The ROC of each score, and how the pair scores of both kinds of pairs are spread."""
    figure = Figure(figsize=(9.2, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    same = np.array([record.same for record in records])
    for number, name in enumerate(SCORES):
        roc = roc_of(values_of(name, records), same)
        label = f"{name}: area {roc.area:.3f}"
        left.plot(roc.false, roc.true, color=COLOURS[number], lw=1.8, label=label)
    left.set(
        xlabel="pairs with nothing in common that pass",
        ylabel="pairs of one place that pass",
        xlim=(0, 0.5),
        ylim=(0.5, 1.005),
    )
    left.legend(frameon=False, loc="lower right")
    scores = values_of("pair score", records)
    for kind, colour, words in ((True, COLOURS[0], "one place"), (False, COLOURS[1], "two places")):
        label = f"{words}, {(same == kind).sum()} pairs"
        bins = np.linspace(0, 1, 21)
        right.hist(scores[same == kind], bins, color=colour, alpha=0.6, label=label)
    right.set(xlabel="pair score", ylabel="pairs")
    right.legend(frameon=False, loc="upper center")
    for pane in (left, right):
        _plain(pane)
    return figure


def _plain(pane: Axes) -> None:
    pane.spines[["top", "right"]].set_visible(False)
    pane.grid(alpha=0.2)
