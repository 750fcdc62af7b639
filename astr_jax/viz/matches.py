"""Lines between matched points."""

import numpy as np
from jaxtyping import Float
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize
from matplotlib.figure import Figure

from astr_jax.images import to_rgb
from astr_jax.types import Matches
from astr_jax.viz import panels

WORST_ERROR = 5.0  # pixels; larger errors have its colour


def draw_matches(
    img0,
    img1,
    matches: Matches,
    *,
    error: Float[np.ndarray, " k"] | None = None,
    right: float | None = None,
    max_lines: int = 200,
    title: str | None = None,
) -> Figure:
    """Two images side by side, every match as two dots, and lines for up to max_lines of them.

    matches: of one pair, in pixels of the images; padding is left out. error: pixels off the truth
    of every row of matches, where known; else the colour is the confidence. right: matches within
    so many pixels are green and the others red, with nothing between. The lines are spread evenly
    over the ranking by confidence.
    """
    keep = np.asarray(matches.valid)
    if error is not None and np.shape(error) != keep.shape:
        raise ValueError(f"error must have one value a match; got {np.shape(error)}.")
    points = [np.asarray(p)[keep] for p in (matches.keypoints0, matches.keypoints1)]
    value = np.asarray(matches.confidence if error is None else error, float)[keep]
    figure, axes, *places = panels.pair_panel(to_rgb(img0), to_rgb(img1), dim=0.85)
    ends = np.stack([place(p) for place, p in zip(places, points, strict=True)], axis=1)

    count = len(value)
    lines = np.unique(np.linspace(0, count - 1, min(count, max_lines)).round().astype(int))
    if error is None:
        colours = ScalarMappable(Normalize(0, 1), panels.CONFIDENCE)
        order = lines[::-1]  # the most confident on top
    else:
        colours = error_colours(right)
        order = lines[np.argsort(value[lines], kind="stable")]  # the wrong ones on top: no hiding
    if count:
        alpha = float(np.clip(14 / len(lines) ** 0.6, 0.35, 0.9))
        colour = colours.to_rgba(value)
        axes.add_collection(
            LineCollection(ends[order], colors=colour[order], linewidths=0.9, alpha=alpha)
        )
        size = float(np.clip(6000 / count, 3, 14))
        for side in (0, 1):
            axes.scatter(*ends[:, side].T, s=size, c=colour, linewidths=0)
    words = f"{count:,} match" + ("" if count == 1 else "es")
    part = f"lines for {len(lines):,} of {count:,}" if len(lines) < count else ""
    panels.add_title(figure, words if title is None else f"{title}: {words}", part)
    label = "error in pixels" + (f", from {WORST_ERROR:g} on alike" if right is None else "")
    panels.add_bar(figure, colours, "confidence" if error is None else label)
    return figure


def error_colours(right: float | None) -> ScalarMappable:
    """From green to red over WORST_ERROR pixels, or green up to `right` and red beyond."""
    if right is None:
        return ScalarMappable(Normalize(0, WORST_ERROR), panels.ERROR)
    ends = ListedColormap([panels.ERROR(0.0), panels.ERROR(1.0)])
    return ScalarMappable(BoundaryNorm([0, right, 2 * right], ends.N, clip=True), ends)
