"""Pack scenes with tracks into one file, to travel to another machine.

examples:
  astr data pack-scenes DIR --out scenes.npz
  astr data pack-scenes DIR --out scenes.npz --side 400 --quality 75 --without street2 garden

DIR holds a folder for each scene, with images/ and a COLMAP model in sparse/ or sparse/0. The
cameras have no lens distortion (`colmap image_undistorter`). `astr train --tracks scenes.npz` reads
the file as it reads the folder.
"""

import argparse
import pathlib

from astr_jax.cli.data.packing import add_packing, add_without, check_options, read_folders
from astr_jax.data.readers import BadFiles
from astr_jax.data.scenes import pack_scenes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of astr data pack-scenes."""
    parser.add_argument("scenes", metavar="DIR", help="a folder of scenes")
    add_packing(parser)
    add_without(parser)


def run(arguments: argparse.Namespace) -> None:
    """Reads and packs all scenes, and says how much that is."""
    check_options(arguments, "scenes")
    bad = BadFiles(skip=arguments.skip_bad)
    scenes = read_folders(arguments, bad)
    pack_scenes(scenes, arguments.out, quality=arguments.quality)
    size = pathlib.Path(arguments.out).stat().st_size
    if bad:
        print(bad.report())
    images = sum(len(scene.images) for scene in scenes)
    pairs = sum(len(scene.pairs[0]) for scene in scenes)
    print(
        f"{len(scenes)} scenes, {images} photographs, {pairs} pairs, {size / 2**20:.1f} MiB: "
        f"{arguments.out}"
    )
