"""Draw the losses and scores of a training run.

examples:
  astr curves RUN/log.jsonl --out curves.png
"""

import argparse
import pathlib

from astr_jax.cli.files import PICTURES, check_output, save_figure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of astr curves."""
    parser.add_argument("log", type=pathlib.Path, metavar="LOG", help="log.jsonl of a run")
    parser.add_argument("--out", default="curves.png", metavar="PNG", help="[curves.png]")


def run(options: argparse.Namespace) -> None:
    """Reads the log and draws it."""
    from astr_jax.training.curves import draw_curves, read_log

    check_output(options.out, PICTURES)
    training, validation = read_log(options.log)
    if not training:
        raise ValueError(f"{options.log} has no row of a run's log.")
    save_figure(draw_curves(training, validation), options.out)
