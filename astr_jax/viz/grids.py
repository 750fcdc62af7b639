"""The adaptive grids of a few matches on both images (supplement Figure 4)."""

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from astr_jax.config import ModelConfig
from astr_jax.images import to_rgb
from astr_jax.model.fine import crop_offsets
from astr_jax.types import Matches
from astr_jax.viz import panels
from astr_jax.viz.frames import CellFrame


def draw_grids(
    img0,
    img1,
    matches: Matches,
    config: ModelConfig,
    *,
    frame0: CellFrame,
    frame1: CellFrame,
    count: int = 14,
) -> Figure:
    """Two images side by side with the sampling grids (s_i, s_j) of `count` matches.

    The matches shown are confident and far from each other. The colour is the scale ratio
    r = s_j / s_i: where things look larger in image 1, its grid is larger, and the reverse. The
    grids are those of the fine stage, about the coarse centres (of an image 1 that was matched
    turned, about the centre of the nearest cell).
    """
    matches = matches.compact()
    figure, axes, place0, place1 = panels.pair_panel(to_rgb(img0), to_rgb(img1), dim=0.8)
    limit = config.fine.max_ratio
    norm = TwoSlopeNorm(0.0, -np.log2(limit) - 1e-6, np.log2(limit) + 1e-6)
    chosen = _spread(matches.keypoints0, matches.confidence, count)
    ratio = np.asarray(matches.scale)[chosen]
    sides = (1 / ratio, ratio)
    colours = panels.RATIO(norm(np.log2(np.clip(ratio, 1 / limit, limit))))
    for cells, growth, frame, place in (
        (matches.cell0, sides[0], frame0, place0),
        (matches.cell1, sides[1], frame1, place1),
    ):
        samples = grid_samples(np.asarray(cells)[chosen], growth, config, frame)
        _draw(axes, place(samples), colours, config.fine.window)
    ends = np.stack(
        [place0(matches.keypoints0[chosen]), place1(matches.keypoints1[chosen])], axis=1
    )
    axes.add_collection(LineCollection(ends, colors=colours, linewidths=0.7, alpha=0.45))
    panels.add_title(
        figure,
        f"adaptive grids of {len(chosen)} of {len(matches):,} matches",
        f"median ratio {np.median(matches.scale):.2f}" if len(matches) else "",
    )
    bar = panels.add_bar(
        figure, ScalarMappable(norm, panels.RATIO), "scale ratio, image 1 / image 0"
    )
    ticks = np.array([r for r in (1 / 4, 1 / 2, 1, 2, 4) if 1 / limit <= r <= limit])
    bar.set_ticks(np.log2(ticks), labels=[f"{r:g}" for r in ticks])
    return figure


def grid_samples(
    cells: Int[np.ndarray, " k"],
    growth: Float[np.ndarray, " k"],
    config: ModelConfig,
    frame: CellFrame,
) -> Float[np.ndarray, "k s 2"]:
    """Where the fine stage samples about each coarse cell, in pixels of the image as given.

    The grid is window * clip(growth, 1, max_ratio) fine cells a side (docs/paper.md §6).
    """
    window = config.fine.window
    size = window * np.clip(growth, 1.0, config.fine.max_ratio)
    reach = (window // 2) * size / window * config.backbone.fine_stride
    offsets = np.asarray(crop_offsets(window))
    return frame.given(frame.working_centres(cells)[:, None] + offsets * reach[:, None, None])


def _draw(axes: Axes, samples: Float[np.ndarray, "k s 2"], colours, window: int) -> None:
    """Samples as dots, joined row by row and column by column."""
    grid = samples.reshape(-1, window, window, 2)
    lines = np.concatenate([grid, grid.swapaxes(1, 2)], axis=1).reshape(-1, window, 2)
    axes.add_collection(
        LineCollection(lines, colors=np.repeat(colours, 2 * window, axis=0), linewidths=0.9)
    )
    dots = samples.reshape(-1, 2)
    axes.scatter(*dots.T, s=2.5, c=np.repeat(colours, window**2, axis=0), linewidths=0)


def _spread(points, confidence, count: int) -> Int[np.ndarray, " c"]:
    """Rows of up to `count` matches: the most confident, then always the farthest from the rest,
    among the more confident half."""
    if not len(points):
        return np.zeros(0, int)
    rank = np.argsort(-np.asarray(confidence), kind="stable")[: max(count, len(points) // 2)]
    pool = np.asarray(points, float)[rank]
    chosen, distance = [0], np.linalg.norm(pool - pool[0], axis=1)
    while len(chosen) < min(count, len(pool)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(pool - pool[chosen[-1]], axis=1))
    return rank[chosen]
