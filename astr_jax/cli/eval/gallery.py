"""Draw what a matcher cannot do: hard pairs, painted, whose truth is known.

examples:
  astr eval gallery --weights tiny --out gallery.jpg
  astr eval gallery --matcher sift --out sift.png

Green matches lie within 3 pixels of the truth. No photograph is needed.
"""

import argparse
import pathlib

from rich.console import Console

from astr_jax.cli.eval.matcher import add_matcher
from astr_jax.cli.files import check_output
from astr_jax.evaluation.matchers.named import find_matcher
from astr_jax.evaluation.scores.homographies import HOMOGRAPHY
from astr_jax.evaluation.studies.gallery import draw_gallery
from astr_jax.files import replacing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of astr eval gallery."""
    add_matcher(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="a .png or .jpg file")


def run(arguments: argparse.Namespace) -> None:
    """Matches the hard pairs and writes the sheet."""
    out = check_output(arguments.out, ("png", "jpg"))
    matcher = find_matcher(arguments.matcher, arguments.weights, None)
    name = pathlib.Path(arguments.weights).stem if arguments.weights else arguments.matcher
    title = f"{name} on hard pairs; green: within {HOMOGRAPHY.right:g} px"
    figure = draw_gallery(matcher.match, title, Console())
    with replacing(out) as beside:
        figure.savefig(beside)
