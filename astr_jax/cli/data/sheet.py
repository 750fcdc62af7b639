"""Draw training pairs of photographs with ground-truth lines, to be looked at.

examples:
  astr data sheet --photos DIR --out sheet.png
  astr data sheet --photos DIR --out lifted.png --lifted

What is red has no true match: it lies beyond the photograph's edge or behind an occluder; of lifted
photographs also what the other image hides or does not reach.
"""

import argparse

from astr_jax.cli.files import PIXELS, check_output, save_pixels


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of astr data sheet."""
    parser.add_argument("--photos", required=True, metavar="DIR", help="folder of photographs")
    parser.add_argument("--out", required=True, metavar="FILE.png", help="picture to write")
    parser.add_argument("--difficulty", type=float, default=0.7, help="in [0, 1]; default 0.7")
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--columns", type=int, default=2, help="pairs in a row")
    parser.add_argument("--lifted", action="store_true", help="pairs of lifted photographs")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other pairs")


def run(options: argparse.Namespace) -> None:
    """Draws the sheet and writes it."""
    import numpy as np

    from astr_jax.data.contact_sheet import draw_sheet
    from astr_jax.data.photos import list_photos, read_photos

    check_output(options.out, PIXELS)
    if min(options.rows, options.columns) < 1:
        raise ValueError(
            f"--rows and --columns must be positive; got {options.rows} and {options.columns}."
        )
    paths = list_photos(options.photos)
    count = 4 * options.rows * options.columns  # more than are drawn, for variety
    rng = np.random.default_rng(options.seed)
    chosen = rng.choice(len(paths), min(count, len(paths)), replace=False)
    sheet = draw_sheet(
        read_photos([paths[k] for k in chosen]),
        rows=options.rows,
        columns=options.columns,
        difficulty=options.difficulty,
        seed=options.seed,
        lifted=options.lifted,
    )
    save_pixels(sheet, options.out)
