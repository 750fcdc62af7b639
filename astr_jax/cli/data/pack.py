"""Pack a folder of photographs into one file, to travel to another machine.

examples:
  astr data pack DIR --out photos.npz
  astr data pack DIR --out photos.npz --side 480 --quality 60

`astr train --photos photos.npz` reads it as it reads a folder.
"""

import argparse
import pathlib

from rich.progress import track

from astr_jax.data.photos import LONG_SIDE, QUALITY, list_photos, pack_photos


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of astr data pack."""
    parser.add_argument("folder", metavar="DIR", help="photographs, in folders below it too")
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


def run(arguments: argparse.Namespace) -> None:
    """Shrinks and packs all photographs, and says how large the file is."""
    if arguments.side < 1:
        raise ValueError(f"--side must be positive; got {arguments.side}.")
    paths = list_photos(arguments.folder)
    sizes = {"long_side": arguments.side, "quality": arguments.quality}
    pack_photos(track(paths, "packing"), arguments.out, **sizes)
    size = pathlib.Path(arguments.out).stat().st_size
    print(f"{len(paths)} photographs, {size / 2**20:.1f} MiB: {arguments.out}")
