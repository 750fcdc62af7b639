"""Pack a folder of photographs into one file, to travel to another machine.

examples:
  astr data pack DIR --out photos.npz
  astr data pack DIR --out photos.npz --side 480 --quality 60

`astr train --photos photos.npz` reads it as it reads a folder.
"""

import argparse
import pathlib

from rich.progress import track

from astr_jax.cli.data.packing import add_packing, check_options
from astr_jax.data.photos import list_photos, pack_photos
from astr_jax.data.readers import BadFiles


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of astr data pack."""
    parser.add_argument("folder", metavar="DIR", help="photographs, in folders below it too")
    add_packing(parser)


def run(arguments: argparse.Namespace) -> None:
    """Shrinks and packs all photographs, and says how large the file is."""
    check_options(arguments, "photographs")
    paths = list_photos(arguments.folder)
    sizes = {"long_side": arguments.side, "quality": arguments.quality}
    bad = BadFiles(skip=arguments.skip_bad)
    pack_photos(track(paths, "packing"), arguments.out, **sizes, bad=bad)
    size = pathlib.Path(arguments.out).stat().st_size
    if bad:
        print(bad.report())
    print(f"{len(paths) - len(bad)} photographs, {size / 2**20:.1f} MiB: {arguments.out}")
