"""The levels of a run as a figure."""

from collections.abc import Mapping, Sequence

from levels import LIMITS, UNITS, Level, growth
from matplotlib.figure import Figure


def draw_levels(levels: Sequence[Level], calls: Mapping[str, int]) -> Figure:
    """A panel for each thing that is held, over calls; the two quarters compared are shaded."""
    figure = Figure(figsize=(7.0, 1.7 * len(LIMITS) + 0.6), layout="constrained")
    made = [x.calls for x in levels]
    for pane, name in zip(figure.subplots(len(LIMITS), sharex=True), LIMITS, strict=True):
        pane.plot(made, [getattr(x, name) for x in levels], color="#1f6fb4", lw=1.2)
        for quarter, alpha in ((2, 0.05), (3, 0.12)):
            ends = (made[-1] * k / 4 for k in (quarter, quarter + 1))
            pane.axvspan(*ends, color="#1f6fb4", alpha=alpha, lw=0)
        words = f"last quarter {growth(levels, name):+.1f}; {LIMITS[name]:g} allowed"
        pane.set_title(f"{UNITS[name]}: {words}", fontsize=9, loc="left")
        pane.set_ylim(bottom=0)
        pane.spines[["top", "right"]].set_visible(False)
        pane.grid(alpha=0.2)
    pane.set_xlabel(f"calls in {levels[-1].seconds / 60:.0f} minutes")
    words = ", ".join(f"{count} {kind}" for kind, count in calls.items())
    figure.suptitle(f"{sum(calls.values())} calls: {words}", fontsize=8)
    return figure
