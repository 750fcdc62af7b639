"""What a command does with the matches that it found: time, save and draw them."""

import time
from collections.abc import Callable

import numpy as np

from astr_jax.cli.files import save_figure
from astr_jax.files import replacing
from astr_jax.types import Matches
from astr_jax.viz import draw_matches

LONG = 20.0  # seconds; after a first match that took longer there is no second one to time


def timed(match_once: Callable, matches_of: Callable, which: str) -> tuple:
    """What the first call gives, and words: how many matches, and how long the second call takes,
    where the first was not long. which: what the first call does besides."""
    start = time.perf_counter()
    found = match_once()
    first, which = time.perf_counter() - start, f"the first call, {which}"
    count = len(matches_of(found))
    if first > LONG:
        return found, f"{count} matches in {first:.1f} s ({which})"
    start = time.perf_counter()
    match_once()
    second = time.perf_counter() - start
    return found, f"{count} matches in {second:.2f} s (the second call; {which}: {first:.1f} s)"


def write_matches(options, left, right, matches: Matches) -> None:
    """Prints the pair score, and writes the files of --save and --out."""
    print(f"pair score {matches.pair_score:.2f} (how probably both pictures show one place)")
    if options.save:
        save_matches(options.save, matches)
    if options.out:
        save_figure(draw_matches(left, right, matches), options.out)


def save_matches(path: str, matches: Matches) -> None:
    """Writes every field of compact matches but `valid`, which is True throughout; sigma, and the
    pair score."""
    fields = {name: value for name, value in vars(matches).items() if name != "valid"}
    fields |= {"sigma": matches.sigma, "pair_score": matches.pair_score}
    with replacing(path) as beside, beside.open("wb") as file:
        np.savez(file, **fields)
    print(f"wrote {path}")
