"""Move a photograph against itself: is a matcher right at every phase of its grid and every scale?

examples:
  astr eval phases --weights tiny --matcher sift --png phases.png
  astr eval phases street.jpg --weights a.safetensors b.safetensors --out phases.json
  astr eval phases --into docs/results.md         the tables, between <!-- phases --> marks

All 64 shifts of up to 7 pixels, and nine scales from 1/4 to 4. Both pictures get noise of their
own, as of a sensor.
"""

import argparse
import dataclasses
import json
import pathlib

import cv2
import numpy as np
from jaxtyping import UInt8
from rich.console import Console
from rich.progress import track

from astr_jax.cli.demo import read_photo
from astr_jax.cli.eval.matcher import add_matchers, find_matchers
from astr_jax.cli.files import check_marks, check_output, write_between
from astr_jax.evaluation.studies.phase_figures import draw_phases, phase_tables
from astr_jax.evaluation.studies.phases import NOISE, PERIOD, cases, score_all
from astr_jax.files import replacing

SIZE = (480, 640)  # h, w of the images
MARK = "phases"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of astr eval phases."""
    parser.add_argument(
        "photo", nargs="?", default="portrait", help="portrait, town, or a file [portrait]"
    )
    add_matchers(parser)
    parser.add_argument(
        "--noise",
        type=float,
        default=NOISE,
        metavar="S",
        help=f"of each picture, standard deviation in grey values of 255 [{NOISE:g}]",
    )
    parser.add_argument("--out", metavar="FILE.json", help="write all scores to this file")
    parser.add_argument("--png", metavar="FILE.png", help="draw them")
    parser.add_argument(
        "--into", metavar="FILE.md", help=f"write the tables there, between <!-- {MARK} --> marks"
    )


def run(arguments: argparse.Namespace) -> None:
    """Matches every phase and scale by every matcher; prints, draws and writes the scores."""
    console = Console()
    check_output(arguments.out, ("json",)), check_output(arguments.png, ("png",))
    if arguments.into:
        check_marks(pathlib.Path(arguments.into), MARK)
    if not 0 <= arguments.noise < 128:
        raise ValueError(f"--noise must lie in [0, 128) grey values; got {arguments.noise:g}.")
    photo = covering(cv2.cvtColor(read_photo(arguments.photo), cv2.COLOR_RGB2GRAY))
    scores = {}
    for name, matcher in find_matchers(arguments.weights, arguments.matcher, max(SIZE)).items():
        found = score_all(matcher, photo, arguments.noise)
        scores[name] = dict(track(found, name, total=len(cases()), console=console))
    tables = phase_tables(scores)
    console.print(tables, markup=False, highlight=False, soft_wrap=True)
    if arguments.into:
        write_between(pathlib.Path(arguments.into), MARK, tables)
    if arguments.png:
        with replacing(arguments.png) as beside:
            draw_phases(scores).savefig(beside, dpi=110)
    if arguments.out:
        rows = [
            {"matcher": name, "noise": arguments.noise}
            | {**case._asdict(), **dataclasses.asdict(score)}
            for name, of_matcher in scores.items()
            for case, score in of_matcher.items()
        ]
        with replacing(arguments.out) as beside:
            beside.write_text(json.dumps(rows, indent=1) + "\n")


def covering(photo: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h2 w2"]:
    """The middle of the photograph, scaled to just cover SIZE and the largest shift."""
    height, width = (side + PERIOD for side in SIZE)
    scale = max(height / photo.shape[0], width / photo.shape[1])
    size = max(width, round(photo.shape[1] * scale)), max(height, round(photo.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    photo = cv2.resize(photo, size, interpolation=method)
    y, x = (photo.shape[0] - height) // 2, (photo.shape[1] - width) // 2
    return photo[y : y + height, x : x + width]
