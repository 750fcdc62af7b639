"""The options of what packs photographs into one file."""

import argparse
import math

from rich.progress import track

from astr_jax.data.photos import LONG_SIDE, QUALITY, check_packing
from astr_jax.data.readers import BadFiles
from astr_jax.data.scenes import Scene, list_scenes, read_scene


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


def add_without(parser: argparse.ArgumentParser) -> None:
    """Which scenes stay at home."""
    parser.add_argument(
        "--without",
        nargs="+",
        default=[],
        metavar="SCENE",
        help="folders to leave out, such as those that are kept to measure on",
    )


def read_folders(arguments: argparse.Namespace, bad: BadFiles) -> list[Scene]:
    """The scenes of a folder but those to leave out. Raises ValueError where one of these is not
    there, or all are."""
    folders = list_scenes(arguments.scenes)
    if unknown := set(arguments.without) - {folder.name for folder in folders}:
        raise ValueError(f"--without names no scene of the folder: {', '.join(sorted(unknown))}.")
    folders = [folder for folder in folders if folder.name not in arguments.without]
    if not folders:
        raise ValueError("--without names every scene; none is left.")
    return [
        read_scene(folder, long_side=arguments.side, bad=bad)
        for folder in track(folders, "reading", transient=True)
    ]


def check_options(arguments: argparse.Namespace, of: str) -> None:
    """Raises ValueError or FileNotFoundError before anything is read."""
    if arguments.side < 1:
        raise ValueError(f"--side must be positive; got {arguments.side}.")
    most = getattr(arguments, "most", None)
    if most is not None and not 0 < most < math.inf:
        raise ValueError(f"--most is a size in MiB, above 0; got {most}.")
    check_packing(arguments.out, arguments.quality, of)
