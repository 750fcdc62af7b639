"""Trains ASTR: python train.py tiny --photos DIR --workdir RUN is astr train tiny ...

Works in a checkout that is not installed. `python train.py --help` has the rest.
"""

import sys

from astr_jax.cli import main as astr


def main(arguments: list[str] | None = None) -> None:
    """Runs astr train; exits where that fails."""
    words = sys.argv[1:] if arguments is None else arguments
    if code := astr(["train", *words]):
        sys.exit(code)


if __name__ == "__main__":
    main()
