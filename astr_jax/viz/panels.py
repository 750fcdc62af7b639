"""The look that all pictures share: figures, images, colours."""

import dataclasses

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image

GROUND, INK, FAINT = "#14171c", "#f2f0ea", "#9aa0a8"  # background, text, small text
ACCENT = "#ffb454"
DPI = 120
LONGEST = 1600  # pixels; larger images are shrunk before they are drawn
CONFIDENCE = LinearSegmentedColormap.from_list("confidence", ["#f0476f", "#ffc857", "#3ddc97"])
ERROR = LinearSegmentedColormap.from_list("error", ["#3ddc97", "#ffc857", "#f0476f"])
RATIO = LinearSegmentedColormap.from_list("ratio", ["#4aa8ff", "#f2f0ea", "#ff8f3f"])


@dataclasses.dataclass(frozen=True)
class Place:
    """Where an image stands in a panel: its point x is at x * scale + shift."""

    scale: float
    shift: tuple[float, float]

    def __call__(self, points: Float[np.ndarray, "*b 2"]) -> Float[np.ndarray, "*b 2"]:
        return np.asarray(points, float) * self.scale + np.asarray(self.shift)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, with the shared background."""
    return Figure(figsize=(width, height), dpi=DPI, facecolor=GROUND)


def add_title(figure: Figure, text: str, small: str = "") -> None:
    """A title at the top left, and a smaller line at the top right, 0.42 inches high."""
    y = 1 - 0.21 / figure.get_figheight()
    edge = 0.12 / figure.get_figwidth()
    figure.text(edge, y, text, color=INK, size=12, weight="bold", va="center")
    figure.text(1 - edge, y, small, color=FAINT, size=9.5, va="center", ha="right")


def show(axes: Axes, image: UInt8[np.ndarray, "h w 3"], place: Place, dim: float = 1.0) -> None:
    """Draws an image at its place; dim < 1 darkens it and takes colour out."""
    h, w = image.shape[:2]
    small = Image.fromarray(image)
    small.thumbnail((LONGEST, LONGEST))  # leaves smaller ones alone
    pixels = np.asarray(small, np.float32) / 255
    if dim < 1:
        grey = pixels.mean(axis=-1, keepdims=True)
        pixels = (0.5 * pixels + 0.5 * grey) * dim
    (left, top), (right, bottom) = place(np.array([[-0.5, -0.5], [w - 0.5, h - 0.5]]))
    axes.imshow(pixels, extent=(left, right, bottom, top), interpolation="bilinear")


def pair_panel(
    img0: UInt8[np.ndarray, "h w 3"], img1: UInt8[np.ndarray, "h1 w1 3"], *, dim: float = 1.0
) -> tuple[Figure, Axes, Place, Place]:
    """Two images side by side at one height, with room for a title above and a bar below."""
    (h0, w0), (h1, w1) = img0.shape[:2], img1.shape[:2]
    scale = h0 / h1
    gap = 0.012 * (w0 + w1 * scale)
    total = w0 + gap + w1 * scale
    # Very wide or very tall pairs still get a readable figure.
    width = float(np.clip(7 * total / h0, 6, 15))
    height = float(np.clip(width * h0 / total, 0.8, 12))
    figure = new_figure(width, height + 0.84)
    whole = height + 0.84
    axes = figure.add_axes((0.12 / width, 0.42 / whole, 1 - 0.24 / width, height / whole))
    places = Place(1.0, (0.0, 0.0)), Place(scale, (w0 + gap, 0.0))
    show(axes, img0, places[0], dim)
    show(axes, img1, places[1], dim)
    axes.set(xlim=(-0.5, total - 0.5), ylim=(h0 - 0.5, -0.5), aspect="equal")
    axes.axis("off")
    return figure, axes, *places


def add_bar(figure: Figure, mappable: ScalarMappable, label: str) -> Colorbar:
    """A slim colour bar below the panel, at the right."""
    width, height = figure.get_size_inches()
    box = (1 - 3.24 / width, 0.25 / height, 3.0 / width, 0.09 / height)
    bar = figure.colorbar(mappable, cax=figure.add_axes(box), orientation="horizontal")
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=FAINT, labelsize=7.5, length=0, pad=2)
    figure.text(
        1 - 3.36 / width, 0.295 / height, label, color=FAINT, size=9.5, ha="right", va="center"
    )
    return bar


def pixels_of(figure: Figure) -> UInt8[np.ndarray, "h w 3"]:
    """A figure as pixels, for a place that takes no file."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
