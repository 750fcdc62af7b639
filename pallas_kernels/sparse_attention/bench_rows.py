"""The rows of the bench: what was measured, how it prints, and lines through it."""

import dataclasses
import itertools
import sys
from collections.abc import Callable, Iterator

import numpy as np

from pallas_kernels.sparse_attention.bench_problems import Problem, with_gradients
from pallas_kernels.target import one_line
from pallas_kernels.timing import Peaks, compile_within, measure

HEADER = (
    f"{'implementation':14} {'direction':9} {'ms':>9} {'GB/s':>8} {'TFLOP/s':>8} {'roofline':>8}"
    f" {'MB':>8}"
)


@dataclasses.dataclass(frozen=True)
class Case:
    """Who looks where."""

    part: str
    n: int  # queries, and keys
    keys: float  # of a query, on average
    outliers: float | None = None  # of spots
    active_tiles: float | None = None  # tiles of keys of a tile of queries, on average
    slots: int | None = None  # of lists that grow

    def __str__(self) -> str:
        if self.slots:
            return f"{self.part}, n {self.n}, {self.slots} slots: {self.n * self.slots:,} pairs"
        return (
            f"{self.part}, n {self.n}, {100 * self.outliers:g} % outliers: {self.keys:.0f} keys a "
            f"query, {self.active_tiles:.1f} active tiles"
        )


@dataclasses.dataclass(frozen=True)
class Row:
    """One measurement; a note says why there is none."""

    case: Case
    implementation: str
    direction: str  # "forward", or "both": with gradients
    ms: float | None = None
    gb_per_s: float | None = None
    tflops: float | None = None
    roofline: float | None = None  # share, in [0, 1]
    temporary_mb: float | None = None
    note: str = ""

    def __str__(self) -> str:
        start = f"{self.implementation:14} {self.direction:9}"
        if self.note:
            return f"{start} {self.note}"
        return (
            f"{start} {self.ms:9.3f} {self.gb_per_s:8.3g} {self.tflops:8.3g} {self.roofline:8.2%}"
            f" {self.temporary_mb:8.1f}"
        )


@dataclasses.dataclass(frozen=True)
class Bench:
    """Measures on one device. Shapes decide a program, so it is compiled once for all outliers."""

    peaks: Peaks
    repeats: int
    most_gb: float
    programs: dict = dataclasses.field(default_factory=dict)

    def rows(self, case: Case, name: str, function: Callable, problem: Problem) -> Iterator[Row]:
        """Two rows: forward, and forward with backward."""
        directions = {
            "forward": (lambda inputs, index, _: function(*inputs, index), problem.forward),
            "both": (with_gradients(function), problem.both),
        }
        args = problem.inputs, problem.index, problem.cotangent
        for direction, (timed, cost) in directions.items():
            print(f"{case}; {name} {direction} ...", file=sys.stderr, flush=True)
            row = Row(case, name, direction)
            key = case.part, case.n, case.slots, name, direction
            try:
                if key not in self.programs:
                    self.programs[key] = compile_within(self.most_gb, timed, *args)
                timing = measure(self.programs[key], *args, repeats=self.repeats)
            except MemoryError as error:
                yield dataclasses.replace(row, note=f"left out: {error}")
            except Exception as error:  # whatever it is, the other rows go on
                yield dataclasses.replace(row, note=f"failed: {one_line(error)}")
            else:
                yield dataclasses.replace(
                    row,
                    ms=timing.ms,
                    gb_per_s=cost.bytes / timing.ms / 1e6,
                    tflops=cost.flops / timing.ms / 1e9,
                    roofline=self.peaks.least_ms(cost) / timing.ms,
                    temporary_mb=timing.temporary_mb,
                )


@dataclasses.dataclass(frozen=True)
class Fit:
    """The line y = at_zero + slope * (pairs in millions), by least squares."""

    implementation: str
    direction: str
    n: int
    y: str  # "ms" or "temporary_mb"
    at_zero: float
    slope: float
    r_squared: float  # 1: all points lie on the line

    def __str__(self) -> str:
        return (
            f"n {self.n}, {self.implementation} {self.direction}: {self.y} = {self.at_zero:.3g} + "
            f"{self.slope:.4g} per million pairs, R^2 {self.r_squared:.4f}"
        )


def fits(rows: list[Row]) -> Iterator[Fit]:
    """How time and memory of lists that grow follow the number of pairs; three points at least."""

    def group(row):
        return row.implementation, row.direction, row.case.n

    measured = sorted((row for row in rows if row.case.slots and not row.note), key=group)
    for key, same in itertools.groupby(measured, group):
        same = list(same)
        pairs = np.array([row.case.n * row.case.slots / 1e6 for row in same])
        if len(np.unique(pairs)) < 3:  # any two points lie on a line
            continue
        for what in ("ms", "temporary_mb"):
            y = np.array([getattr(row, what) for row in same])
            slope, at_zero = np.polyfit(pairs, y, 1)
            rest = ((y - at_zero - slope * pairs) ** 2).sum()
            spread = max(((y - y.mean()) ** 2).sum(), 1e-9)
            yield Fit(*key, what, float(at_zero), float(slope), float(1 - rest / spread))
