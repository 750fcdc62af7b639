"""Draw pairs of synthetic worlds: images, true correspondences, depth.

examples:
  astr data worlds --photos DIR --out worlds.png
  astr data worlds --photos DIR --out rooms.png --kinds room --difficulty 1
"""

import argparse

from astr_jax.cli.files import PIXELS, check_output, save_pixels


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of astr data worlds."""
    add = parser.add_argument
    add("--photos", required=True, metavar="DIR", help="folder of photographs, the texture")
    add("--out", required=True, metavar="FILE.png", help="picture to write")
    add("--difficulty", type=float, default=0.7, help="in [0, 1]; default 0.7")
    add("--rows", type=int, default=7)
    add("--columns", type=int, default=2, help="pairs in a row")
    add("--kinds", nargs="+", metavar="KIND", help="street, room and so on; default: all")
    add("--seed", type=int, default=0, help="another seed draws other worlds")


def run(options: argparse.Namespace) -> None:
    """Renders the worlds and writes the sheet."""
    import numpy as np

    from astr_jax.data.photos import list_photos, read_photos
    from astr_jax.data.worlds import KINDS, WorldConfig, make_atlas
    from astr_jax.data.worlds.sheet import draw_worlds

    check_output(options.out, PIXELS)
    if min(options.rows, options.columns) < 1:
        raise ValueError(
            f"--rows and --columns must be positive; got {options.rows} and {options.columns}."
        )
    config = WorldConfig(kinds=tuple(options.kinds or KINDS))  # refuses kinds that are none
    rng = np.random.default_rng(options.seed)
    paths = list_photos(options.photos)
    chosen = rng.choice(len(paths), min(48, len(paths)), replace=False)
    sheet = draw_worlds(
        make_atlas(read_photos([paths[k] for k in chosen]), options.seed),
        rng,
        rows=options.rows,
        columns=options.columns,
        difficulty=options.difficulty,
        config=config,
        seed=options.seed,
    )
    save_pixels(sheet, options.out)
