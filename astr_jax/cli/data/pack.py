"""Pack a folder of photographs into one file, to travel to another machine.

examples:
  astr data pack DIR --out photos.npz
  astr data pack DIR --out photos.npz --side 480 --quality 60
  astr data pack DIR --scenes SCENES --without street2 garden --side 400 --most 38 --out data.npz

`astr train --photos photos.npz` reads it as it reads a folder. With --scenes it holds scenes with
tracks too, and is given twice: `--photos data.npz --tracks data.npz`. Where --most says so, quality
gives way, down to 40; then photographs, evenly by their order; scenes never.
"""

import argparse
import pathlib

from rich.progress import track

from astr_jax.cli.data.packing import add_packing, add_without, check_options, read_folders
from astr_jax.data.packing import pack
from astr_jax.data.photos import list_photos, pack_photos, read_photos
from astr_jax.data.readers import BadFiles


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of astr data pack."""
    parser.add_argument("folder", metavar="DIR", help="photographs, in folders below it too")
    add_packing(parser)
    parser.add_argument("--scenes", metavar="DIR", help="scenes too, as for astr data pack-scenes")
    add_without(parser)
    parser.add_argument("--most", type=float, metavar="MIB", help="the file is no larger than this")


def run(arguments: argparse.Namespace) -> None:
    """Shrinks and packs all photographs, and says how large the file is."""
    check_options(arguments, "photographs")
    if arguments.without and not arguments.scenes:
        raise ValueError("--without leaves scenes out: name their folder by --scenes.")
    paths = list_photos(arguments.folder)
    bad = BadFiles(skip=arguments.skip_bad)
    if arguments.most is None and arguments.scenes is None:
        sizes = {"long_side": arguments.side, "quality": arguments.quality}
        pack_photos(track(paths, "packing"), arguments.out, **sizes, bad=bad)
        said = f"{len(paths) - len(bad)} photographs"
    else:
        said = pack_bounded(arguments, paths, bad)
    size = pathlib.Path(arguments.out).stat().st_size
    if bad:
        print(bad.report())
    print(f"{said}, {size / 2**20:.1f} MiB: {arguments.out}")


def pack_bounded(arguments: argparse.Namespace, paths, bad: BadFiles) -> str:
    """Packs photographs and scenes into a file of a bounded size; says in words what it holds."""
    scenes = read_folders(arguments, bad) if arguments.scenes else []
    photos = read_photos(track(paths, "reading"), long_side=arguments.side, bad=bad)
    most = float("inf") if arguments.most is None else arguments.most * 2**20
    quality, kept = pack(photos, scenes, arguments.out, quality=arguments.quality, most=most)
    images = sum(len(scene.images) for scene in scenes)
    pairs = sum(len(scene.pairs[0]) for scene in scenes)
    return (
        f"{kept} of {len(photos)} photographs, {len(scenes)} scenes with {images} photographs and "
        f"{pairs} pairs, quality {quality}"
    )
