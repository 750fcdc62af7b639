"""The options that name a matcher."""

import argparse

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def add_matcher(parser: argparse.ArgumentParser) -> None:
    """Which matcher, and its weights."""
    parser.add_argument(
        "--matcher",
        default="astr",
        help="astr (default), sift, rootsift, orb, akaze, or package.module:function",
    )
    parser.add_argument("--weights", help="of astr: a shipped name or a file; default: the best")


def add_size(parser: argparse.ArgumentParser) -> None:
    """At which size the model matches, and whether pictures may lie turned."""
    parser.add_argument(
        "--resize", type=int, metavar="PX", help="of astr: its own limit of the long side"
    )
    parser.add_argument(
        "--no-upright",
        dest="upright",
        action="store_false",
        help="of astr: image 1 may lie turned by a quarter or a half; 3 to 5 times the time",
    )


def progress_bar(console: Console) -> Progress:
    """What is done, how much there is, and the time that is left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )
