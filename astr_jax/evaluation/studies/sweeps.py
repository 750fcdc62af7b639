"""What breaks a matcher, and by how much: one change of the picture at a time, in known amounts.

Image 1 is image 0 seen again by a camera a little aside, and then changed. It is seen from further
aside, turned, made smaller, blurred, lit otherwise, or made noisy. Truth is a homography, and
exact. Both images have one size; where image 1 sees beyond image 0 it shows another photograph. A
photograph has the same view and the same draw of noise at every amount. So what differs along a
sweep is the amount alone.
"""

import dataclasses
import math
import os
import pathlib
import time
from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from astr_jax.data import cameras
from astr_jax.data.photos import list_photos
from astr_jax.evaluation.scores import metrics
from astr_jax.evaluation.scores.found import MatchFunction, checked_matches
from astr_jax.evaluation.scores.homographies import HOMOGRAPHY
from astr_jax.evaluation.scores.scoring import share

ESTIMATOR = HOMOGRAPHY.judge
VIEW_ANGLE = 15.0  # degrees between the two viewing directions, where they are not swept
SHIFT = 0.03  # of the point looked at, at most, in sides of the image
DISPLAY_GAMMA = 2.2  # of pixel values over the light that made them
RESAMPLES = 2000
Image = UInt8[np.ndarray, "h w"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """What sets image 1 apart from image 0."""

    view: float = VIEW_ANGLE  # degrees between the two viewing directions
    rotation: float = 0.0  # degrees about the optical axis
    scale: float = 1.0  # image 0 over image 1: 2 shows all at half the size
    blur: float = 0.0  # sigma of a Gaussian, pixels
    light: float = 0.0  # exposure in stops; what gets too bright is white
    noise: float = 0.0  # sigma, of the range from black to white

    def __post_init__(self):
        limits = {"view": (0, 80), "rotation": (-360, 360), "scale": (1, 8), "blur": (0, 50)}
        for name, (low, high) in (limits | {"light": (-8, 8), "noise": (0, 1)}).items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} must be in [{low}, {high}]; got {value:g}.")


SWEEPS = {  # name -> its axis, its amounts
    "view": ("angle between the views, degrees", (0, 15, 30, 45, 60, 70, 75)),
    "rotation": ("rotation, degrees", (0, 15, 30, 45, 60, 90, 135, 180)),
    "scale": ("scale ratio", (1, 1.25, 1.5, 2, 2.5, 3, 3.5, 4)),
    "blur": ("blur of image 1, sigma, px", (0, 0.5, 1, 1.5, 2, 3, 4, 6)),
    "light": ("exposure of image 1, stops", (-3, -2, -1, 0, 1, 2, 3)),
    "noise": (
        "noise of image 1, sigma, of full range",
        (0, 0.02, 0.04, 0.06, 0.08, 0.12, 0.16, 0.2),
    ),
}
Sweeps = dict[str, tuple[float, ...]]  # name -> amounts


def parse_sweeps(texts: Sequence[str] | None) -> Sweeps:
    """Sweeps from "rotation" (its own amounts) or "rotation=0,45,90"; None: all of SWEEPS."""
    sweeps = {}
    for text in SWEEPS if texts is None else texts:
        name, given, numbers = text.partition("=")
        if name not in SWEEPS:
            raise ValueError(f"no sweep {name!r}. There are: {', '.join(SWEEPS)}.")
        if name in sweeps:
            raise ValueError(f"the sweep {name} was given twice: write {name}=1,2.")
        try:
            amounts = [float(n) for n in numbers.split(",")] if given else SWEEPS[name][1]
        except ValueError:
            raise ValueError(
                f"{text!r} has amounts that are no numbers: write {name}=1,2."
            ) from None
        sweeps[name] = tuple(sorted({*amounts}))
        for amount in amounts:
            Change(**{name: amount})
    return sweeps


def changes_of(sweeps: Sweeps) -> list[Change]:
    """Every change once: the unchanged picture is in several sweeps."""
    return list(dict.fromkeys(Change(**{n: a}) for n, amounts in sweeps.items() for a in amounts))


def choose_photos(places: Sequence[str | os.PathLike], count: int, seed: int) -> list[pathlib.Path]:
    """Draws at most `count` photographs from files and folders."""
    paths = set()
    for place in map(pathlib.Path, places):
        paths.update([place] if place.is_file() else list_photos(place))
    if min(count, len(paths)) < 2:
        raise ValueError(
            "give two photographs or more, as each is surrounded by another one; got "
            f"{len(paths)} and --count {count}."
        )
    order = np.random.default_rng(seed).permutation(len(paths))[:count]
    return [sorted(paths)[i] for i in sorted(order)]


def make_view(
    image0: Image, around: Image, change: Change, rng: np.random.Generator
) -> tuple[Image, Float[np.ndarray, "3 3"]]:
    """Image 1, and the homography to it from image 0. around: what lies beyond image 0."""
    size = height, width = image0.shape
    middle = np.array([width - 1, height - 1]) / 2
    homography = cameras.view_from_photo(
        target=tuple(middle + SHIFT * np.array([width, height]) * rng.uniform(-1, 1, 2)),
        zoom=1 / change.scale,
        tilt=math.radians(change.view),
        tilt_axis=rng.uniform(0, 2 * math.pi),
        roll=math.radians(change.rotation),
        focal=max(size),
        size=size,
    )
    inside = cameras.inside_photo(homography, size, size)
    around = cv2.resize(around, (width, height), interpolation=cv2.INTER_AREA)
    image1 = np.where(inside, cameras.render(image0, homography, size), around)
    return _shoot(image1, change, rng), homography


def _shoot(image: Image, change: Change, rng: np.random.Generator) -> Image:
    """Lens, exposure and sensor; rounded to whole grey levels once, at the end."""
    value = image.astype(np.float32) / 255
    if change.blur:
        value = cv2.GaussianBlur(value, (0, 0), change.blur, borderType=cv2.BORDER_REFLECT_101)
    value = np.minimum(value * np.float32(2 ** (change.light / DISPLAY_GAMMA)), 1.0)
    value = value + np.float32(change.noise) * rng.standard_normal(value.shape, np.float32)
    return np.round(np.clip(value, 0, 1) * 255).astype(np.uint8)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViewScore:
    """What a matcher made of one photograph under one change."""

    precision: float = 0.0  # share of its matches within 3 px of the truth; 0 without matches
    right: int = 0  # how many they are
    corner_error: float = math.inf  # pixels of image 1
    seen: float  # share of image 0 that image 1 shows
    seconds: float = 0.0  # of the matcher
    failure: str | None = None  # what it raised


def score_view(
    match: MatchFunction, image0: Image, image1: Image, homography: Float[np.ndarray, "3 3"]
) -> ViewScore:
    """Matches and scores one pair. Whatever the matcher raises becomes a failure."""
    back = np.linalg.inv(homography)
    seen = float(cameras.inside_photo(back, image1.shape, image0.shape).mean())
    start = time.perf_counter()
    try:
        found = checked_matches(match(image0, image1))
        seconds = time.perf_counter() - start
        points = found.points0, found.points1
        right = metrics.transfer_errors(*points, homography) < HOMOGRAPHY.right
        estimated = HOMOGRAPHY.find_estimator(ESTIMATOR)(*points)
    except Exception as error:
        return ViewScore(seen=seen, failure=f"{type(error).__name__}: {error}")
    return ViewScore(
        precision=share(right),
        right=int(right.sum()),
        corner_error=metrics.corner_error(estimated, homography, size=image0.shape),
        seen=seen,
        seconds=seconds,
    )


def match_changes(
    match: MatchFunction, photos: Sequence[Image], changes: Iterable[Change], seed: int
) -> Iterator[tuple[Change, ViewScore]]:
    """Scores of every change of every photograph, photograph by photograph."""
    changes = list(changes)
    for number, image0 in enumerate(photos):
        around = photos[(number + 1) % len(photos)]
        for change in changes:
            rng = np.random.default_rng([seed, number])
            yield change, score_view(match, image0, *make_view(image0, around, change, rng))


MEASURES = {  # name -> its title, its axis, the value of a pair, their summary
    "precision": (
        f"precision, within {HOMOGRAPHY.right:g} px",
        "share of matches",
        lambda score: score.precision,
        np.mean,
    ),
    "right": ("right matches", "matches, median", lambda score: score.right, np.median),
    "solved": (
        f"corner error below {HOMOGRAPHY.solved:g} px",
        "share of photographs",
        lambda score: score.corner_error < HOMOGRAPHY.solved,
        np.mean,
    ),
}


def sweep_rows(matcher: str, scores: dict[Change, list[ViewScore]], sweeps: Sweeps) -> list[dict]:
    """A row for each amount of each sweep, fit for JSON.

    It has the measures of MEASURES as (value, low, high), by the 95 % interval of the bootstrap
    over photographs. It has the scores of each photograph too.
    """
    rows = []
    for sweep, amounts in sweeps.items():
        for amount in amounts:
            found = scores[Change(**{sweep: amount})]
            row = {"matcher": matcher, "sweep": sweep, "amount": amount}
            row["seen"] = float(np.mean([score.seen for score in found]))
            row |= {name: _with_interval(found, name) for name in MEASURES}
            rows.append(row | {"photographs": [_plain(score) for score in found]})
    return rows


def _with_interval(scores: Sequence[ViewScore], measure: str) -> tuple[float, float, float]:
    *_, value_of, summary = MEASURES[measure]
    values = np.array([value_of(score) for score in scores], float)
    # The same draws for every amount and matcher.
    drawn = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(summary(values[drawn], axis=1), [0.025, 0.975])
    return float(summary(values)), float(low), float(high)


def _plain(score: ViewScore) -> dict:
    """For JSON, which has no infinity."""
    fields = dataclasses.asdict(score)
    return fields | {"corner_error": score.corner_error if score.corner_error < math.inf else None}
