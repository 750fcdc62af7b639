"""What computes a match: JAX, ONNX Runtime and StableHLO on the same pairs, by the same weights.

All match at one size and at scale 1, by the program that is exported (`astr_jax.export.programs`).
"""

import dataclasses
import functools
import os
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

import jax
import numpy as np

from astr_jax.evaluation.benchmarks.pairs import Pair
from astr_jax.export.agreement import FARTHEST, Agreement
from astr_jax.export.exported import WHOLE
from astr_jax.export.onnx_files import OnnxGraphs
from astr_jax.export.pairs import PreparedPair
from astr_jax.export.programs import named, programs_of
from astr_jax.export.stablehlo import read_stablehlo
from astr_jax.instruments.timing import Seconds, seconds_of
from astr_jax.params import Params

Runtime = Callable[..., Mapping]  # of image0, image1, mask0, mask1, threshold
JAX, ONNX, STABLEHLO = "JAX", "ONNX Runtime", "StableHLO"


@dataclasses.dataclass(frozen=True)
class Compared:
    """One pair, by every runtime."""

    pair: Pair
    matches: int  # that JAX finds
    agreement: Mapping[str, Agreement]  # with JAX, of every other runtime
    seconds: Mapping[str, Seconds]


def runtimes_of(
    params: Params,
    size: tuple[int, int],
    onnx: str | os.PathLike | None,
    stablehlo: str | os.PathLike | None,
) -> Mapping[str, Runtime]:
    """JAX, and what folders of `astr export` hold. Raises ValueError for one of another size."""
    program = programs_of(named(params, "gather"), size)[WHOLE]
    found: dict[str, Runtime] = {
        JAX: functools.partial(jax.jit(program.function), params.variables)
    }
    if onnx:
        graphs = OnnxGraphs(onnx)
        check_size(graphs.size, size, onnx)
        found[ONNX] = functools.partial(graphs.run, WHOLE)
    if stablehlo:
        other, call = read_stablehlo(stablehlo)
        check_size(other, size, stablehlo)
        found[STABLEHLO] = call
    return found


def check_size(size: Sequence[int], expected: tuple[int, int], folder) -> None:
    """Raises ValueError where a folder's programs are of another size."""
    if tuple(size) != expected:
        (h, w), (height, width) = size, expected
        raise ValueError(
            f"{folder} holds programs for {w} x {h}; {width} x {height} was expected. Give --size."
        )


def compared(
    runtimes: Mapping[str, Runtime],
    pairs: Iterable[Pair],
    size: tuple[int, int],
    threshold: float,
) -> Iterable[Compared]:
    """Every pair by every runtime, in turns; the first pair once before, to compile and load."""
    first = True
    for pair in pairs:
        prepared = PreparedPair.of(pair.image0, pair.image1, size)
        given = dict(prepared.arrays()) | {"threshold": np.float32(threshold)}
        if first:
            for run in runtimes.values():
                jax.block_until_ready(run(**given))
        first, seconds, matches = False, {}, {}
        for name, run in runtimes.items():
            found, seconds[name] = _timed(run, given)
            matches[name] = prepared.as_given(found)
        agreement = {n: Agreement.of(m, matches[JAX]) for n, m in matches.items() if n != JAX}
        yield Compared(pair, len(matches[JAX]), agreement, seconds)


def _timed(run: Runtime, given: Mapping) -> tuple[Mapping, Seconds]:
    found = []

    def task():
        found.append(run(**given))
        return found

    seconds = seconds_of(task)
    return found[0], seconds


def in_turn(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """The first pair of every set, then the second of every set, until there are so many."""
    sets: dict[str, list[Pair]] = {}
    for pair in pairs:
        sets.setdefault(pair.set, []).append(pair)
    longest = max(map(len, sets.values()), default=0)
    mixed = [some[k] for k in range(longest) for some in sets.values() if k < len(some)]
    return mixed[:count]


def lines_of(rows: Sequence[Compared]) -> list[list[str]]:
    """The table in words, its head first."""
    whole = sum(row.matches for row in rows)
    same = f"the same within {FARTHEST} px"
    head = ["", same, "fewest, of a pair", "largest difference, px", "CPU seconds", "seconds"]
    lines = [head]
    for name in rows[0].seconds:
        times = [row.seconds[name] for row in rows]
        cpu, wall = (statistics.median(getattr(t, kind) for t in times) for kind in ("cpu", "wall"))
        line = [name, "-", "-", "-", f"{cpu:.2f}", f"{wall:.2f}"]
        if name != JAX:
            found = [row.agreement[name] for row in rows]
            share = sum(a.same * row.matches for a, row in zip(found, rows, strict=True))
            line[1:4] = [
                f"{share / max(whole, 1):.2%}",
                f"{min(a.same for a in found):.2%}",
                f"{max(a.largest for a in found):.3g}",
            ]
        lines.append(line)
    return lines
