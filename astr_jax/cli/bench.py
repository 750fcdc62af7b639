"""Time a match and its stages at several sizes, beside other matchers.

examples:
  astr bench                                     a drawn pair, from 320 x 240 to 1600 x 1200
  astr bench --sizes 640 --repeat 3              one size, soon done
  astr bench --photos left.jpg right.jpg         a pair of yours, shrunk to each size
  astr bench --out bench.json --png bench.png    all runs; growth with the pixels, drawn
  astr bench --into docs/results.md              the table there, between <!-- speed --> marks

A size is the long side of both pictures. Each task is called once to compile, then --repeat times
in turns with the others; the table has medians, by the clock and of CPU time of all threads. The
peak memory of a match is that of a process of its own. OpenCV's SIFT and ORB are timed beside it if
cv2 is there, and kornia's LoFTR, with random weights and up to 960 pixels, if kornia and torch are;
ONNX Runtime if onnx and onnxruntime are, beside a match with scales=1.

Programs are compiled anew, for some minutes at each size. Close other programs first.
"""

import json
import pathlib
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console

from astr_jax import api
from astr_jax.cli.files import PICTURES, check_marks, check_output, save_figure, write_between
from astr_jax.cli.match import add_weights
from astr_jax.data.demo import demo_pair
from astr_jax.data.town import paint_town
from astr_jax.files import replacing
from astr_jax.images import to_rgb
from astr_jax.instruments.machine import describe_machine
from astr_jax.instruments.peak_memory import Peak, peak_of_match
from astr_jax.instruments.rivals import ONNX, RIVALS, is_installed, rival_tasks
from astr_jax.instruments.speed_table import (
    MATCHES,
    STAGES,
    markdown_table,
    notes_of,
    row_of,
    screen_table,
)
from astr_jax.instruments.timing import Task, compiled_anew, in_turns, match_tasks, matched_at
from astr_jax.params import Params, find_weights
from astr_jax.viz.growth import draw_growth

SIZES = "320,640,960,1280,1600"
DRAWN = (1200, 1600)  # h, w of the drawn pair, before it is shrunk
LEAST = 64  # pixels of a long side
MARK = "speed"


def add_arguments(parser) -> None:
    """The options of astr bench."""
    add_weights(parser)
    parser.add_argument("--sizes", default=SIZES, metavar="N,N", help=f"long sides [{SIZES}]")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="calls that count [5]")
    parser.add_argument(
        "--photos", nargs=2, metavar=("LEFT", "RIGHT"), help="pictures of yours [a drawn town]"
    )
    parser.add_argument("--out", metavar="JSON", help="write all runs")
    parser.add_argument("--png", metavar="PNG", help="draw how it grows with the pixels")
    parser.add_argument("--into", metavar="FILE.md", help="write the table there, between marks")


def run(options) -> None:
    """Times each size, prints, writes and draws."""
    check_output(options.out, ("json",))
    check_output(options.png, PICTURES)
    if options.into is not None:
        check_marks(pathlib.Path(options.into), MARK)
    if options.repeat < 1:
        raise ValueError(f"--repeat must be at least 1; got {options.repeat}.")
    sizes = read_sizes(options.sizes)
    pictures = read_pictures(options.photos, max(sizes))
    weights = find_weights(options.weights)
    report = {
        "machine": describe_machine(),
        "settings": {
            "weights": weights.name,
            "pictures": " and ".join(options.photos) if options.photos else "a drawn town",
            "repeat": options.repeat,
        },
        "sizes": [],
    }
    for size in sizes:
        say(f"long side {size} ...")
        pair = tuple(at_size(picture, size) for picture in pictures)
        report["sizes"].append(time_pair(weights, pair, options.repeat))
        if options.out:  # after each size: a run may be stopped
            with replacing(options.out) as beside:
                beside.write_text(json.dumps(report, indent=1) + "\n")
    Console(width=200).print(screen_table(report))
    for note in notes_of(report):
        print(note)
    if options.out:
        print(f"wrote {options.out}")
    if options.into:
        write_between(pathlib.Path(options.into), MARK, markdown_table(report))
        print(f"wrote {options.into}")
    if options.png:
        save_figure(draw(report["sizes"]), options.png)


def say(words: str) -> None:
    """To those who watch."""
    if sys.stderr.isatty():
        print(words, file=sys.stderr)


def read_sizes(text: str) -> list[int]:
    """Long sides in rising order. Raises ValueError."""
    try:
        sizes = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise ValueError(f"--sizes takes long sides, such as 320,640; got {text!r}.") from None
    if sizes[0] < LEAST:
        raise ValueError(f"--sizes must be at least {LEAST} pixels; got {sizes[0]}.")
    return sizes


def read_pictures(photos: Sequence[str] | None, largest: int) -> tuple[Image.Image, Image.Image]:
    """Both pictures, grey, at the largest size or more. Raises ValueError for smaller ones."""
    if photos is None:
        height, width = DRAWN
        if largest > width:
            raise ValueError(f"--sizes of the drawn pair are at most {width}; got {largest}.")
        pair = demo_pair(paint_town(size=(2 * height, 2 * width)), size=DRAWN)
        return tuple(Image.fromarray(x).convert("L") for x in (pair.image0, pair.image1))
    found = [
        Image.fromarray(to_rgb(photo, name)).convert("L")
        for photo, name in zip(photos, ("LEFT", "RIGHT"), strict=True)
    ]
    for picture, name in zip(found, ("LEFT", "RIGHT"), strict=True):
        if max(picture.size) < largest:
            width, height = picture.size
            raise ValueError(
                f"{name} is {width} x {height}: too small for --sizes up to {largest}."
            )
    return tuple(found)


def at_size(picture: Image.Image, side: int) -> UInt8[np.ndarray, "h w"]:
    """A picture shrunk so that its long side is as given."""
    scale = side / max(picture.size)
    size = tuple(max(1, round(length * scale)) for length in picture.size)
    return np.asarray(picture.resize(size, Image.Resampling.LANCZOS))


def time_pair(weights: pathlib.Path, pair, repeat: int) -> dict:
    """All about one size."""
    params = api.load(weights)
    with compiled_anew() as folder:
        tasks = match_tasks(params, *pair) | rival_tasks(*pair) | onnx_tasks(params, *pair)
        timings = in_turns(tasks, repeat)
        scales, matches = matched_at(params, *pair)
        peak = peak_or_none(weights, pair, folder)
    return row_of(pair, timings, scales, matches, peak)


def onnx_tasks(params: Params, image0, image1) -> dict[str, Task]:
    """The task of ONNX Runtime, where its packages are installed."""
    if not (is_installed("onnx") and is_installed("onnxruntime")):
        return {}
    from astr_jax.export.onnx_matcher import onnx_task

    return {ONNX: onnx_task(params, image0, image1)}


def peak_or_none(weights: pathlib.Path, pair, compiled: pathlib.Path) -> Peak | None:
    """The peak memory; where the process failed, words on stderr instead."""
    try:
        return peak_of_match(weights, *pair, compiled)
    except ChildProcessError as error:
        print(f"astr bench: no peak memory: {error}", file=sys.stderr)
        return None


def draw(rows: Sequence[dict]) -> Figure:
    """Growth with the pixels: of the stages, of whole matches beside others, of memory."""

    def lines(labels: Mapping[str, str]) -> dict[str, list[float | None]]:
        return {
            label: [row["seconds"].get(name, {}).get("wall") for row in rows]
            for name, label in labels.items()
            if any(name in row["seconds"] for row in rows)
        }

    peaks = [row["memory_mib"] for row in rows]
    memory = {
        "the process": [peak and peak["process"] for peak in peaks],
        "beyond Python, JAX, weights": [
            peak and peak["process"] - peak["before"] for peak in peaks
        ],
    }
    names = ["{1} x {0}".format(*row["pictures"][0]) for row in rows]
    panes = {
        ("stages of a match", "seconds"): lines(STAGES),
        ("whole matches, and others", "seconds"): lines(MATCHES | {name: name for name in RIVALS}),
        ("peak memory of a match", "MiB"): memory,
    }
    return draw_growth([row["pixels"] for row in rows], names, panes)
