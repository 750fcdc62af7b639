"""What a matcher cannot do, drawn, on painted pairs whose truth is known.

A painted town is changed in one way at a time, each strong enough to break many matchers. There are
windows that look alike too, and a street in three dimensions. Two towns have nothing in common, so
that every match is wrong. Green matches lie within 3 pixels of the truth. No photograph is needed.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from rich.progress import track

from astr_jax.data.town import paint_town
from astr_jax.data.worlds import WorldConfig, make_atlas, render_pairs
from astr_jax.data.worlds.atlas import paint_windows
from astr_jax.evaluation.reports.pictures import as_matches
from astr_jax.evaluation.scores import metrics
from astr_jax.evaluation.scores.found import MatchFunction, checked_matches
from astr_jax.evaluation.scores.homographies import HOMOGRAPHY
from astr_jax.evaluation.studies.sweeps import Change, make_view
from astr_jax.supervision import DepthTruth, PairBatch
from astr_jax.viz import draw_matches, panels

SIZE = 480, 640  # h, w of every picture
COLUMNS = 2
CHANGES = {
    "seen from 65 degrees aside": Change(view=65),
    "turned by 90 degrees": Change(rotation=90),
    "four times smaller": Change(scale=4),
    "blurred, sigma 6 px": Change(blur=6),
    "eight times darker, noisy": Change(light=-3, noise=0.06),
}
STREET_KEY = 5
Grey = UInt8[np.ndarray, "h w"]
Points = Float[np.ndarray, "k 2"]


@dataclasses.dataclass(frozen=True)
class HardPair:
    """Two pictures, and how far matched points are from the truth, in pixels of image 1."""

    name: str
    image0: Grey
    image1: Grey
    errors: Callable[[Points, Points], Float[np.ndarray, " k"]]


def hard_pairs() -> Iterator[HardPair]:
    """Makes all pairs."""
    town, other = painted_town(7), painted_town(8)
    windows = (255 * np.clip(paint_windows(np.random.default_rng(3), 640), 0, 1)).astype(np.uint8)
    wall = np.tile(windows[::2, ::2], (2, 2))[: SIZE[0], : SIZE[1]]
    flat = {name: (town, change) for name, change in CHANGES.items()}
    for name, (image0, change) in (flat | {"windows that repeat": (wall, Change())}).items():
        image1, homography = make_view(image0, other, change, np.random.default_rng(0))
        errors = functools.partial(metrics.transfer_errors, homography=homography)
        yield HardPair(name, image0, image1, errors)
    street = rendered_street([town, other])
    yield HardPair(
        "a street, with depth",
        street.image0,
        street.image1,
        functools.partial(_world_errors, truth=street.truth),
    )
    yield HardPair("two towns with nothing in common", town, other, _all_wrong)


def rendered_street(photos: list[Grey]) -> PairBatch:
    """One pair of a synthetic world, textured by the photographs."""
    config = WorldConfig(height=SIZE[0], width=SIZE[1], kinds=("street",), rotation_rate=0.0)
    pairs, _ = render_pairs(
        jax.random.key(STREET_KEY), make_atlas(photos), jnp.float32(0.6), config=config, batch=1
    )
    return jax.device_get(pairs)[0]


def _world_errors(
    points0: Points, points1: Points, *, truth: DepthTruth
) -> Float[np.ndarray, " k"]:
    """Infinite where the depth of a point is not known, and where image 1 does not show it."""
    true1, seen = map(np.asarray, truth.locate(points0))
    return np.where(seen, np.linalg.norm(true1 - points1, axis=1), np.inf)


def _all_wrong(points0: Points, points1: Points) -> Float[np.ndarray, " k"]:
    return np.full(len(points0), np.inf)


def painted_town(seed: int) -> Grey:
    """The town of a seed in grey, of SIZE."""
    town = Image.fromarray(paint_town(seed)).convert("L")
    return np.asarray(town.resize(SIZE[::-1], Image.Resampling.LANCZOS))


def draw_gallery(match: MatchFunction, title: str, console: Console) -> Figure:
    """Matches and draws all pairs."""
    pictures, limit = [], HOMOGRAPHY.right
    for pair in track(list(hard_pairs()), "matching", console=console):
        found = checked_matches(match(pair.image0, pair.image1))
        off = pair.errors(found.points0, found.points1)
        words = f"{pair.name}, {(off < limit).sum():,} right"
        figure = draw_matches(
            pair.image0, pair.image1, as_matches(found), error=off, right=limit, title=words
        )
        pictures.append(panels.pixels_of(figure))
    return on_one_sheet(pictures, title)


def on_one_sheet(pictures: list[UInt8[np.ndarray, "h w 3"]], title: str) -> Figure:
    """Pictures of one size in COLUMNS, below a title."""
    rows, (height, width) = -(-len(pictures) // COLUMNS), pictures[0].shape[:2]
    inches = 7.0
    figure = panels.new_figure(COLUMNS * inches, rows * inches * height / width + 0.42)
    panels.add_title(figure, title)
    share = 1 - 0.42 / figure.get_figheight()
    for number, picture in enumerate(pictures):
        row, column = divmod(number, COLUMNS)
        box = (column / COLUMNS, share * (1 - (row + 1) / rows), 1 / COLUMNS, share / rows)
        axes = figure.add_axes(box)
        axes.imshow(picture, interpolation="lanczos", interpolation_stage="rgba")
        axes.axis("off")
    return figure
