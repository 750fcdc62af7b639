"""Evaluates matchers: python eval.py pairs DIR is astr eval pairs DIR

Works in a checkout that is not installed. `python eval.py --help` has the rest.
"""

import sys

from astr_jax.cli import main as astr


def main(arguments: list[str] | None = None) -> None:
    """Runs astr eval; exits where that fails."""
    words = sys.argv[1:] if arguments is None else arguments
    if code := astr(["eval", *words]):
        sys.exit(code)


if __name__ == "__main__":
    main()
