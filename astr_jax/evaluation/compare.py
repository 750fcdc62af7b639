"""Is B better than A? Two reports, pair by pair, with bootstrap intervals over pairs.

Pairs are drawn again with replacement, within each set, RESAMPLES times, the same draw for both;
the interval is from the 2.5th to the 97.5th percentile of the difference B - A. It speaks of the
choice of pairs from these sets, not of other sets, and is too narrow for a set of few pairs.
"""

import dataclasses
import zlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from rich import box
from rich.table import Table

from astr_jax.evaluation.records import PairRecord
from astr_jax.evaluation.report import MEAN, THRESHOLDS, UNITS, Report
from astr_jax.evaluation.tables import SHOWN_PIXELS

RESAMPLES = 10_000
AT_ONCE = 1_000  # resamples, so that memory does not grow with their number
SOLVED = {"pose": 10.0, "homography": 5.0}  # errors below, degrees or pixels, count as solved


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """B - A of one score of one set, or of the mean of sets; scores in [0, 1]."""

    set: str
    kind: str
    estimator: str  # "" : of the matches themselves
    score: str  # "AUC@5", "right epi@0.0005"
    first: float  # A's
    second: float
    low: float  # of the difference: 95 % interval
    high: float

    @property
    def told(self) -> bool:
        """Whether the interval keeps off 0."""
        return self.low > 0 or self.high < 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Solved:
    """How many pairs are solved by one report and failed by the other."""

    kind: str
    estimator: str
    only_first: int
    only_second: int
    both: int
    pairs: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    names: tuple[str, str]
    differences: tuple[Difference, ...]
    solved: tuple[Solved, ...]
    left_out: tuple[int, int]  # pairs that the other report lacks, or has of another kind
    protocol: tuple[str, ...]  # what differs


def compare(first: Report, second: Report, *, resamples: int = RESAMPLES) -> Comparison:
    """Compares the pairs that both have. Raises ValueError where there are none."""
    theirs = {(r.kind, r.set, r.name): r for r in second.records}
    pairs = [
        (r, theirs[r.kind, r.set, r.name])
        for r in first.records
        if (r.kind, r.set, r.name) in theirs
    ]
    if not pairs:
        raise ValueError(
            f"{first.matcher} and {second.matcher} have no pair in common: "
            "compare reports of one benchmark."
        )
    differences, solved = [], []
    for kind in THRESHOLDS:
        of_kind = [pair for pair in pairs if pair[0].kind == kind]
        if of_kind:
            differences += _differences(kind, of_kind, resamples)
            solved += _solved(kind, of_kind)
    keys = {*first.protocol, *second.protocol}
    names = first.matcher, second.matcher
    if names[0] == names[1]:
        names = f"{names[0]} A", f"{names[1]} B"
    return Comparison(
        names=names,
        differences=tuple(differences),
        solved=tuple(solved),
        left_out=(len(first.records) - len(pairs), len(second.records) - len(pairs)),
        protocol=tuple(sorted(k for k in keys if first.protocol.get(k) != second.protocol.get(k))),
    )


def common_estimators(pairs: Sequence[tuple[PairRecord, PairRecord]]) -> list[str]:
    return [name for name in pairs[0][0].errors if name in pairs[0][1].errors]


def _differences(kind: str, pairs, resamples: int) -> list[Difference]:
    """Every score of every set, then of their mean where there are several."""
    sets = {}
    for pair in pairs:
        sets.setdefault(pair[0].set, []).append(pair)
    estimators = common_estimators(pairs)
    shares = [n for n in pairs[0][0].precision if n in pairs[0][1].precision]
    shares = [n for n in shares if kind == "pose" or n in SHOWN_PIXELS]
    labels = [(name, f"AUC@{t:g}") for name in estimators for t in THRESHOLDS[kind]]
    labels += [("", f"right {name}") for name in shares]
    scored = {}  # set -> the two rows of scores, and resampled differences [r scores]
    for name, members in sets.items():
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        plain = np.arange(len(members))[None]
        of = [
            _scorer(kind, [pair[side] for pair in members], estimators, shares) for side in (0, 1)
        ]
        drawn = []
        for begin in range(0, resamples, AT_ONCE):
            size = (min(AT_ONCE, resamples - begin), len(members))
            rows = rng.integers(0, len(members), size)
            drawn.append(of[1](rows) - of[0](rows))
        scored[name] = of[0](plain)[0], of[1](plain)[0], np.concatenate(drawn)
    if len(scored) > 1:
        scored[MEAN] = tuple(
            np.mean(values, axis=0) for values in zip(*scored.values(), strict=True)
        )
    return [
        _difference(name, kind, label, column, *scores)
        for name, scores in scored.items()
        for column, label in enumerate(labels)
    ]


def _difference(name, kind, label, column, first, second, drawn) -> Difference:
    low, high = np.percentile(drawn[:, column], (2.5, 97.5))
    return Difference(
        set=name,
        kind=kind,
        estimator=label[0],
        score=label[1],
        first=float(first[column]),
        second=float(second[column]),
        low=float(low),
        high=float(high),
    )


def _scorer(kind, records: Sequence[PairRecord], estimators, shares):
    """A function from drawn rows [r n] of the records to all scores [r scores]."""
    errors = [np.array([r.errors[name] for r in records]).T for name in estimators]  # [seeds n]
    right = np.array([[r.precision[name] for name in shares] for r in records])  # [n shares]

    def scores(rows: Int[np.ndarray, "r n"]) -> Float[np.ndarray, "r scores"]:
        areas = [
            np.mean([resampled_auc(seed, THRESHOLDS[kind], rows) for seed in seeds], axis=0)
            for seeds in errors
        ]
        precision = [right[rows, column].mean(axis=1)[:, None] for column in range(len(shares))]
        return np.concatenate([*areas, *precision], axis=1)

    return scores


def resampled_auc(
    errors: Float[np.ndarray, " n"], thresholds: Sequence[float], rows: Int[np.ndarray, "r n"]
) -> Float[np.ndarray, "r t"]:
    """metrics.error_auc of errors[row] for every row of `rows`, all at once."""
    order = np.argsort(errors, kind="stable")
    rank = np.empty(len(errors), np.int64)
    rank[order] = np.arange(len(errors))
    # Small whole numbers are sorted faster than errors.
    small = np.uint16 if len(errors) <= 2**16 else np.int64
    drawn = np.sort(rank.astype(small)[rows], axis=1, kind="stable")
    n = rows.shape[1]
    areas = []
    for threshold in thresholds:
        below = int(np.searchsorted(errors[order], threshold))  # ranks below this count
        inside = drawn < below
        x = np.where(inside, np.minimum(errors[order], threshold)[drawn], threshold)
        step = np.diff(x, axis=1, prepend=0.0)
        # The curve rises by 1/n up to each error below the threshold, and is level from the last.
        height = np.where(inside, np.arange(n) + 0.5, inside.sum(axis=1, keepdims=True)) / n
        level = (threshold - x[:, -1]) * inside.all(axis=1)
        areas.append(((step * height).sum(axis=1) + level) / threshold)
    return np.stack(areas, axis=1)


def _solved(kind: str, pairs) -> list[Solved]:
    """By the median error over seeds."""
    counts = []
    for name in common_estimators(pairs):
        a, b = (
            np.array([np.median(pair[side].errors[name]) < SOLVED[kind] for pair in pairs])
            for side in (0, 1)
        )
        counts.append(
            Solved(
                kind=kind,
                estimator=name,
                only_first=int((a & ~b).sum()),
                only_second=int((~a & b).sum()),
                both=int((a & b).sum()),
                pairs=len(pairs),
            )
        )
    return counts


def comparison_tables(comparison: Comparison) -> list[Table]:
    """A table per kind and estimator, sets down; the matches' own shares apart."""
    a, b = comparison.names
    tables = []
    groups = dict.fromkeys((d.kind, d.estimator) for d in comparison.differences)
    for kind, estimator in groups:
        rows = [d for d in comparison.differences if (d.kind, d.estimator) == (kind, estimator)]
        what = f"{estimator}, {UNITS[kind]}" if estimator else "share of right matches"
        table = Table(
            title=f"{kind}, {what}: {b} - {a}, points [95 % interval]", box=box.SIMPLE_HEAD
        )
        table.add_column("set", no_wrap=True)
        scores = dict.fromkeys(d.score for d in rows)
        for score in scores:
            table.add_column(score, justify="right")
        for name in dict.fromkeys(d.set for d in rows):
            table.add_row(name, *(_cell(d) for d in rows if d.set == name))
        tables.append(table)
    return tables


def _cell(d: Difference) -> str:
    mark = " *" if d.told else "  "
    difference = 100 * (d.second - d.first)
    return f"{difference:+.1f} \\[{100 * d.low:+.1f}, {100 * d.high:+.1f}]{mark}"


def verdicts(comparison: Comparison) -> list[str]:
    """In words: what differs, who solves what, and whether it is told from noise."""
    a, b = comparison.names
    lines = []
    if comparison.protocol:
        lines.append(f"The protocols differ in: {', '.join(comparison.protocol)}.")
    if any(comparison.left_out):
        counts = " and ".join(map(str, comparison.left_out))
        lines.append(f"Left out, as the other report lacks them: {counts} pairs of {a} and {b}.")
    for s in comparison.solved:
        limit = f"{SOLVED[s.kind]:g} {UNITS[s.kind]}"
        lines.append(
            f"{s.kind}, {s.estimator}: of {s.pairs} pairs both solve {s.both} within {limit}, "
            f"{a} alone {s.only_first}, {b} alone {s.only_second}."
        )
        whole = [
            d for d in comparison.differences if (d.kind, d.estimator) == (s.kind, s.estimator)
        ]
        (d,) = [d for d in whole if d.set == whole[-1].set and d.score == f"AUC@{SOLVED[s.kind]:g}"]
        lines.append(f"  {_verdict(d, a, b)}")
    return lines


def _verdict(d: Difference, a: str, b: str) -> str:
    points = 100 * (d.second - d.first)
    interval = f"95 % interval {100 * d.low:+.1f} to {100 * d.high:+.1f}"
    where = "in the mean of sets" if d.set == MEAN else f"on {d.set}"
    if not d.told:
        return (
            f"{d.score} {where}: {points:+.1f} points from {a} to {b}, {interval}, which holds 0: "
            "not told from noise."
        )
    better, worse = (b, a) if points > 0 else (a, b)
    return (
        f"{d.score} {where}: {better} is better than {worse} by {abs(points):.1f} points "
        f"({b} - {a}: {interval}): told from noise."
    )
