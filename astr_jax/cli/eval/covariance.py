"""Hold the covariances of matches against their errors, on pairs with a known homography.

examples:
  astr eval covariance DIR --sets synthetic --weights tiny
  astr eval covariance DIR --sets synthetic,hpatches_churchill
  astr eval covariance --photos DIR --count 200      photographs, each seen again by another camera

Of each set: how many errors of right matches are within sigma on an axis (68 % are wanted), what
the variances must still be multiplied by, and how much likelier the errors are under the
covariances than under round ones of the same root mean. In brackets what holds 95 % of the draws.
"""

import argparse
from collections.abc import Iterator

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from astr_jax.data.photos import read_photos
from astr_jax.evaluation.benchmarks.pairs import read_pairs
from astr_jax.evaluation.benchmarks.reading import PAIRS_RESIZE
from astr_jax.evaluation.benchmarks.resizing import load_pair
from astr_jax.evaluation.benchmarks.truths import HomographyTruth
from astr_jax.evaluation.reports.tables import print_table
from astr_jax.evaluation.studies.covariance import (
    Image,
    RightMatches,
    gain_of_shape,
    mean_over,
    seen_again,
    variance_factor,
    within_sigma,
)
from astr_jax.evaluation.studies.sweeps import choose_photos
from astr_jax.matching import Matcher, MatchOptions
from astr_jax.params import find_weights, load_params


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of astr eval covariance."""
    add = parser.add_argument
    add("folders", nargs="*", metavar="DIR", help="as of pairs; those with a homography count")
    add("--sets", type=lambda t: t.split(","), metavar="A,B", help="only these sets")
    add("--photos", nargs="+", default=(), metavar="PATH", help="photographs, or folders of them")
    add("--count", type=int, default=60, metavar="N", help="photographs drawn at most; default 60")
    add("--seed", type=int, default=0, metavar="N", help="of the photographs and what they undergo")
    add("--weights", help="a shipped name or a file; default: the best")


def run(arguments: argparse.Namespace) -> None:
    """Matches every pair and prints a row for each set."""
    console = Console()
    total, pairs = _pairs(arguments)
    params = load_params(find_weights(arguments.weights))
    matcher = Matcher(params, MatchOptions(resize=PAIRS_RESIZE.long_side))
    found: dict[str, list[RightMatches]] = {}
    for name, image0, image1, homography in track(pairs, "pairs", total=total, console=console):
        matches = matcher.match(*map(matcher.encode, (image0, image1))).compact()
        found.setdefault(name, []).append(RightMatches.of(matches, homography))
    print_table(table_of(found), console)


def _pairs(arguments) -> tuple[int, Iterator[tuple[str, Image, Image, np.ndarray]]]:
    """How many there are; and of each its set, both images and the homography."""
    pairs = read_pairs(arguments.folders, arguments.sets) if arguments.folders else []
    pairs = [pair for pair in pairs if isinstance(pair.truth, HomographyTruth)]
    photos = []
    if arguments.photos:
        paths = choose_photos(arguments.photos, arguments.count, arguments.seed)
        photos = read_photos(paths, long_side=PAIRS_RESIZE.long_side)
    if not pairs and not photos:
        raise ValueError(
            "give folders with pairs that have a homography, or --photos. "
            "See astr eval covariance --help."
        )

    def each():
        for pair in pairs:
            given = load_pair(pair, PAIRS_RESIZE)
            yield pair.set, given.image0, given.image1, given.truth.homography
        for drawn in seen_again(photos, arguments.seed):
            yield "photographs", *drawn

    return len(pairs) + len(photos), each()


def table_of(found: dict[str, list[RightMatches]]) -> Table:
    """A row for each set."""
    table = Table(title="covariances of right matches", box=box.SIMPLE_HEAD)
    table.add_column("set")
    for name in ("pairs", "matches", "within sigma, %", "variance still x", "shape, nats a match"):
        table.add_column(name, justify="right")
    for name, pairs in found.items():
        matches = sum(len(pair.error) for pair in pairs)
        if not matches:
            table.add_row(name, str(len(pairs)), "0", "-", "-", "-")
            continue
        within, gain = mean_over(pairs, within_sigma), mean_over(pairs, gain_of_shape)
        table.add_row(
            name,
            str(len(pairs)),
            str(matches),
            "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * x for x in within)),
            f"{variance_factor(pairs):.2f}",
            "{:+.3f} [{:+.3f}, {:+.3f}]".format(*gain),
        )
    return table
