"""The options of what packs photographs into one file."""

import argparse

from astr_jax.data.photos import LONG_SIDE, QUALITY, check_packing


def add_packing(parser: argparse.ArgumentParser) -> None:
    """Where the file goes, and how large and how good its photographs are."""
    parser.add_argument("--out", required=True, metavar="FILE.npz", help="the file to write")
    parser.add_argument(
        "--side",
        type=int,
        default=LONG_SIDE,
        metavar="PIXELS",
        help=f"shrink the long side to this at most; default {LONG_SIDE}",
    )
    parser.add_argument(
        "--quality",
        type=int,
        default=QUALITY,
        metavar="Q",
        help=f"of WebP, 1 to 100; default {QUALITY}. At 60, side 512: 24 kB a photograph",
    )
    add_skip_bad(parser)


def add_skip_bad(parser: argparse.ArgumentParser) -> None:
    """The option to go on without files that cannot be read."""
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out missing and damaged files, and name them"
    )


def check_options(arguments: argparse.Namespace, of: str) -> None:
    """Raises ValueError or FileNotFoundError before anything is read."""
    if arguments.side < 1:
        raise ValueError(f"--side must be positive; got {arguments.side}.")
    check_packing(arguments.out, arguments.quality, of)
