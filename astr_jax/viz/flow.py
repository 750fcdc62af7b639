"""The coarse flow of a pair: its direction and length as colour, and its standard deviation."""

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, hsv_to_rgb
from matplotlib.figure import Figure

from astr_jax.images import to_rgb
from astr_jax.types import FlowMap
from astr_jax.viz import panels


def draw_flow(img0, img1, flow: FlowMap) -> Figure:
    """Image 0 under the colours of its flow, beside image 1 with the points that cells go to.

    The hue is the direction of points1 - points0 less its median, the strength its length. Points
    of image 1 have the colour of sigma, from sure (green) to unsure (red).
    """
    rgb0, rgb1 = to_rgb(img0), to_rgb(img1)
    figure, axes, place0, place1 = panels.pair_panel(rgb0, rgb1, dim=0.5)
    valid = np.asarray(flow.valid)
    moves = np.where(valid[..., None], np.asarray(flow.flow), 0.0)
    middle = np.median(moves[valid], axis=0) if valid.any() else np.zeros(2)
    colours = flow_colours(np.where(valid[..., None], moves - middle, 0.0))
    half = (np.asarray(flow.points0)[-1, -1] - flow.points0[0, 0]) / np.maximum(
        np.array(valid.shape[::-1]) - 1, 1
    )
    corners = place0(np.stack([flow.points0[0, 0] - half / 2, flow.points0[-1, -1] + half / 2]))
    (left, top), (right, bottom) = corners
    shown = np.dstack([colours, np.where(valid, 170, 0).astype(np.uint8)])
    axes.imshow(shown, extent=(left, right, bottom, top), interpolation="nearest", zorder=2)
    sigma = np.linalg.norm(np.asarray(flow.sigma)[valid], axis=-1) / 2**0.5
    most = float(np.quantile(sigma, 0.95)) if len(sigma) else 1.0
    scale = ScalarMappable(Normalize(0, max(most, 1e-6)), panels.ERROR)
    points = place1(np.asarray(flow.points1)[valid])
    h, w = rgb1.shape[:2]
    inside = (np.abs(np.asarray(flow.points1)[valid] / (w - 1) - 0.5) <= 0.5)[:, 0]
    inside &= (np.abs(np.asarray(flow.points1)[valid] / (h - 1) - 0.5) <= 0.5)[:, 1]
    axes.scatter(*points[inside].T, s=7, c=scale.to_rgba(sigma[inside]), linewidths=0, zorder=3)
    words = f"{valid.sum():,} of {valid.size:,} cells"
    panels.add_title(figure, f"coarse flow: {words}", f"median ({middle[0]:.0f}, {middle[1]:.0f})")
    panels.add_bar(figure, scale, "sigma in pixels")
    return figure


def flow_colours(moves: Float[np.ndarray, "h w 2"]) -> UInt8[np.ndarray, "h w 3"]:
    """Hue by direction, strength by length up to the 95th percentile."""
    length = np.linalg.norm(moves, axis=-1)
    most = max(float(np.quantile(length, 0.95)), 1e-6)
    hue = (np.arctan2(moves[..., 1], moves[..., 0]) / (2 * np.pi)) % 1.0
    strength = np.clip(length / most, 0, 1)
    return (hsv_to_rgb(np.stack([hue, strength, np.ones_like(hue)], -1)) * 255).astype(np.uint8)
