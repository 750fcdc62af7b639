"""The figures of report.html: cameras and points, the matrix of pairs, the lengths of tracks."""

import numpy as np
import pycolmap
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from astr_jax.reconstruction.tracks import Tracks

MOST_POINTS = 30_000  # that are drawn


def draw_model(model: pycolmap.Reconstruction) -> Figure:
    """Cameras and points from above and from the front."""
    images = sorted(
        (image for image in model.images.values() if image.has_pose), key=lambda i: i.name
    )
    centres = np.array([image.projection_center() for image in images]).reshape(-1, 3)
    ups = [-image.cam_from_world().rotation.matrix()[1] for image in images]
    views = [image.cam_from_world().rotation.matrix()[2] for image in images]
    points = [p for p in model.points3D.values() if p.error < 2]
    step = max(1, len(points) // MOST_POINTS)
    xyz = np.array([p.xyz for p in points[::step]]).reshape(-1, 3)
    colour = np.array([p.color for p in points[::step]]).reshape(-1, 3) / 255
    axes_of_view = main_directions(np.array(ups), np.array(views))
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    for axes, (across, along), title in zip(
        figure.subplots(1, 2), ((0, 2), (0, 1)), ("from above", "from the front"), strict=True
    ):
        placed, cameras = xyz @ axes_of_view.T, centres @ axes_of_view.T
        axes.scatter(placed[:, across], placed[:, along], s=1, c=colour, linewidths=0)
        axes.plot(cameras[:, across], cameras[:, along], "-", color="#c33", lw=0.6)
        axes.plot(cameras[:, across], cameras[:, along], "o", color="#c33", ms=3)
        whole = np.concatenate([placed, cameras])
        low, high = np.percentile(whole, [1, 99], axis=0)
        low, high = np.minimum(low, cameras.min(axis=0)), np.maximum(high, cameras.max(axis=0))
        edge = 0.05 * (high - low).max()
        axes.set_xlim(low[across] - edge, high[across] + edge)
        axes.set_ylim(low[along] - edge, high[along] + edge)
        axes.set_aspect("equal")
        axes.set_title(title)
        axes.set_xticks([])
        axes.set_yticks([])
    return figure


def main_directions(
    ups: Float[np.ndarray, "n 3"], views: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "3 3"]:
    """Right, up and forward of all cameras together, as rows; ups and views: of each camera."""
    up = ups.mean(axis=0)
    up /= max(np.linalg.norm(up), 1e-9)
    forward = views.mean(axis=0)
    forward -= up * (up @ forward)
    if np.linalg.norm(forward) < 0.1:  # cameras that look in all directions
        forward = np.cross(up, [1.0, 0, 0] if abs(up[0]) < 0.9 else [0, 1.0, 0])
    forward /= np.linalg.norm(forward)
    return np.stack([np.cross(forward, up), up, forward])


def draw_pairs(inliers: Int[np.ndarray, "n n"]) -> Figure:
    """The matrix of verified matches, on a logarithmic scale."""
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    shown = axes.imshow(np.log10(np.maximum(inliers, 1)), cmap="viridis", interpolation="nearest")
    bar = figure.colorbar(shown, ax=axes, label="verified matches")
    ticks = np.arange(0, np.ceil(np.log10(max(inliers.max(), 10))) + 1)
    bar.set_ticks(ticks, labels=[f"{10**tick:.0f}" for tick in ticks])
    axes.set_xlabel("photograph")
    axes.set_ylabel("photograph")
    return figure


def draw_lengths(tracks: Tracks, model: pycolmap.Reconstruction) -> Figure:
    """How many photographs see a track, of those made and of those in the model."""
    made = np.bincount(tracks.track) if len(tracks.track) else np.zeros(0, int)
    kept = np.array([p.track.length() for p in model.points3D.values()], int)
    edges = np.arange(2, max(made.max(initial=2), kept.max(initial=2)) + 2) - 0.5
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.hist(made, edges, color="#bbb", label="tracks")
    axes.hist(kept, edges, color="#36a", label="points of the model", rwidth=0.6)
    axes.set_yscale("log")
    axes.set_xlabel("photographs")
    axes.set_ylabel("count")
    axes.legend(frameon=False)
    return figure
