"""Vanilla attention of one query against its spot (supplement Figure 3)."""

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from astr_jax.images import to_rgb
from astr_jax.instruments.attention_maps import AttentionMaps
from astr_jax.ops.grids import COARSE_STRIDE
from astr_jax.viz import panels
from astr_jax.viz.frames import CellFrame

HEAT = LinearSegmentedColormap.from_list(
    "heat", [(1, 0.3, 0.2, 0), (1, 0.4, 0.2, 0.6), (1, 0.75, 0.3, 0.9), (1, 1, 0.85, 1)]
)


def draw_attention(
    img0, img1, maps: AttentionMaps, *, frame0: CellFrame, frame1: CellFrame
) -> Figure:
    """Four panels: the query in image 0, and three views of image 1 with its attention weights.

    The vanilla layer at 1/32 and the spot-guided layer at 1/8 are what the model computes; the
    third map has the spot-guided layer's own queries and keys, without the spot. Weights are means
    over the heads, shown relative to the largest of each map.
    """
    rgb0, rgb1 = to_rgb(img0), to_rgb(img1)
    query = frame0.given(np.asarray(maps.query))
    area, everywhere = np.asarray(maps.area), np.asarray(maps.everywhere)
    inside = everywhere[area].sum()
    figure, (first, *others) = _four_panels(
        max(image.shape[1] / image.shape[0] for image in (rgb0, rgb1)),
        (
            f"query cell at ({query[0]:.0f}, {query[1]:.0f})",
            "vanilla attention at 1/32",
            f"at 1/8 without the spot: {inside:.0%} of it inside",
            f"spot-guided attention at 1/8: {area.sum()} cells",
        ),
    )
    _show(first, rgb0, 1.0)
    first.scatter(*query, s=150, facecolors="none", edgecolors=panels.ACCENT, linewidths=2)
    first.scatter(*query, s=7, color=panels.ACCENT)
    for axes, weights, stride in zip(
        others,
        (maps.vanilla, maps.everywhere, maps.spot),
        (32, COARSE_STRIDE, COARSE_STRIDE),
        strict=True,
    ):
        _show(axes, rgb1, 0.6)
        _heat(axes, np.asarray(weights), frame1, stride)
        _outline(axes, area, frame1)
    return figure


def _four_panels(aspect: float, words: tuple[str, ...]) -> tuple[Figure, list[Axes]]:
    """Four panels of one aspect (w / h), each with a line of words above it: two by two, or in one
    row where they are tall."""
    gap, head = 0.12, 0.34  # inches
    aspect = float(np.clip(aspect, 0.4, 4.0))
    columns = 4 if aspect < 0.9 else 2
    rows = 4 // columns
    w = 3.9 if columns == 4 else 6.2
    h = w / aspect
    whole = columns * w + (columns + 1) * gap, rows * (h + head) + gap
    figure, panes = panels.new_figure(*whole), []
    for k, line in enumerate(words):
        row, column = divmod(k, columns)
        left, bottom = gap + (w + gap) * column, gap + (h + head) * (rows - 1 - row)
        box = (left / whole[0], bottom / whole[1], w / whole[0], h / whole[1])
        panes.append(figure.add_axes(box))
        y = (bottom + h + head / 2) / whole[1]
        figure.text(left / whole[0], y, line, color=panels.INK, size=10.5, va="center")
    return figure, panes


def _show(axes: Axes, image, dim: float) -> None:
    panels.show(axes, image, panels.Place(1.0, (0.0, 0.0)), dim)
    axes.set(xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5), anchor="NW")
    axes.axis("off")


def _heat(axes: Axes, weights: Float[np.ndarray, "h w"], frame: CellFrame, stride: int) -> None:
    relative = (weights / max(weights.max(), 1e-12)) ** 0.7  # faint ones show, a little
    axes.imshow(
        relative,
        extent=frame.extent(weights.shape, stride),
        cmap=HEAT,
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )


def _outline(axes: Axes, area: Bool[np.ndarray, "h w"], frame: CellFrame) -> None:
    """The border of a set of cells: every edge between a cell inside and one outside."""
    padded = np.pad(area, 1)
    y, x = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])  # edges above cell (x, y)
    level = np.stack([np.stack([x, y], -1), np.stack([x + 1, y], -1)], axis=1)
    y, x = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])  # edges left of cell (x, y)
    upright = np.stack([np.stack([x, y], -1), np.stack([x, y + 1], -1)], axis=1)
    edges = frame.given((np.concatenate([level, upright]) - 0.5) * COARSE_STRIDE)
    axes.add_collection(LineCollection(edges, colors="#6be5ff", linewidths=1.1))
