"""What every public door owes to whatever it is given: a finite result, or words of our own."""

import collections
import os
import pathlib
import resource
import sys
import traceback
import warnings

import jax
import numpy as np
from hypothesis import HealthCheck, settings

import astr_jax

PACKAGES = str(pathlib.Path(astr_jax.__file__).parent) + os.sep
EXAMPLES = int(os.environ.get("ASTR_FUZZ", "0"))  # of all doors together; 0: those of the suite
SUITE = 312  # together
MOST_MEMORY = 2 << 30  # bytes that one example may take; no image here has over 4 MP
OURS = ("ValueError", "FileNotFoundError", "UnreadableFile")

asked: collections.Counter = collections.Counter()  # examples by door
refused: collections.Counter = collections.Counter()
most_taken: collections.Counter = collections.Counter()  # bytes of one example
foreign: set[tuple[str, str]] = set()  # door, and where something else than our own words came from


def examples(share: int, most: int | None = None):
    """Settings of a door that gets `share` of the suite's examples; most: where each is dear."""
    count = max(1, share * EXAMPLES // SUITE) if EXAMPLES else share
    return settings(
        max_examples=min(count, most or count),
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def ask(door: str, call, *names):
    """The result of a call; None where it is refused in words that hold one of the names.

    names: of the argument or the file. Raises AssertionError for all else: another error, one that
    was not raised in our own code, a number that is not finite, too much memory.
    """
    asked[door] += 1
    before, peak = resident(), peak_memory()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = call()
        except Exception as error:
            _check_words(door, error, [str(name) for name in names])
            refused[door] += 1
            result = None
    taken = peak_memory() - before if peak_memory() > peak else 0
    most_taken[door] = max(most_taken[door], taken)
    if taken > MOST_MEMORY:
        foreign.add((door, f"took {taken >> 20} MiB"))
        raise AssertionError(f"{door} took {taken >> 20} MiB")
    return result


def assert_finite(tree) -> None:
    """No NaN and no infinity in any array."""
    for leaf in jax.tree.leaves(tree):
        leaf = np.asarray(leaf)
        if np.issubdtype(leaf.dtype, np.floating):
            assert np.isfinite(leaf).all()


def ask_pairs(door, dataset, *names):
    """Every pair of a data set's only scene, and the arrays of the first three."""
    (scene,) = dataset.scenes
    names = *names, scene
    pairs = ask(door, lambda: dataset.pairs(scene), *names)
    for k in range(min(3, len(pairs or ()))):
        pair = ask(f"{door}, pairs", lambda k=k: pairs[k], *names)
        if pair is not None:
            arrays = ask(
                f"{door}, pictures", lambda pair=pair: dataset.load(pair, (64, 64)), *names
            )
            if arrays is not None:
                assert_finite(arrays)
    return pairs


def _check_words(door: str, error: Exception, names: list[str]) -> None:
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    of_file = isinstance(error, OSError) and error.filename is not None
    own = type(error).__name__ in OURS and last.filename.startswith(PACKAGES)
    if not (own or of_file):
        mine = [frame for frame in frames if frame.filename.startswith(PACKAGES)] or frames
        place = f"{pathlib.Path(mine[-1].filename).name}:{mine[-1].name}"
        foreign.add((door, f"{type(error).__name__} through {place}: {str(error)[:120]}"))
        raise AssertionError(f"{door} lets out {error!r}, through {place}") from error
    text = str(error)
    written = (repr(name)[1:-1] for name in names)  # as errors write what nobody could see
    if not any(name in text for name in (*names, *written)):
        foreign.add((door, f"names none of {names}: {text[:120]}"))
        raise AssertionError(f"{door} names none of {names}: {text}") from error


def resident() -> int:
    """Bytes of memory that the process holds."""
    if sys.platform != "linux":
        return peak_memory()
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def peak_memory() -> int:
    """Bytes of memory that the process has held at most."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
