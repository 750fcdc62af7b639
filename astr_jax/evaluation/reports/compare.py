"""Is B better than A? Two reports, pair by pair, with bootstrap intervals over clusters of pairs.

Clusters of pairs (bootstrap.py) are drawn again with replacement, within each set, RESAMPLES times,
the same draw for both. The interval is from the 2.5th to the 97.5th percentile of the difference
B - A. It speaks of the choice of pairs from these sets, not of other sets. It is too narrow for a
set of few clusters; a set of one cluster has none.

With several seeds of an estimator it speaks of the mean score over these seeds, of each report over
its own. Seeds are not drawn, so what another seed would change is not in it.
"""

import dataclasses
import math
import zlib
from collections.abc import Sequence

import numpy as np
from rich import box
from rich.table import Table

from astr_jax.evaluation.reports.bootstrap import resampled_scores
from astr_jax.evaluation.reports.records import PairRecord
from astr_jax.evaluation.reports.report import MEAN, Report, told_apart
from astr_jax.evaluation.scores.kinds import KINDS
from astr_jax.evaluation.scores.pair_kind import PairKind

RESAMPLES = 10_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """B - A of one score of one set, a group of it, or the mean of sets; scores in [0, 1]."""

    set: str
    group: str  # "" : the whole set
    kind: PairKind
    estimator: str  # "" : of the matches themselves
    score: str  # "AUC@5", "right epi@0.0005"
    first: float  # A's
    second: float
    low: float  # of the difference: 95 % interval; nan where a set has one cluster alone
    high: float

    @property
    def label(self) -> str:
        return f"{self.set}: {self.group}" if self.group else self.set

    @property
    def told(self) -> bool:
        """Whether the interval keeps off 0."""
        return self.low > 0 or self.high < 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Solved:
    """How many pairs are solved by one report and failed by the other."""

    kind: PairKind
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
    seeds: tuple[int, int]  # of the estimators, how many
    protocol: tuple[str, ...]  # what differs


def compare(first: Report, second: Report, *, resamples: int = RESAMPLES) -> Comparison:
    """Compares the pairs that both have. Raises ValueError where there are none."""
    first, second = told_apart([first, second])
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
    for kind in KINDS:
        of_kind = [pair for pair in pairs if pair[0].kind == kind]
        if of_kind:
            differences += _differences(kind, of_kind, resamples)
            solved += _solved(kind, of_kind)
    keys = {*first.protocol, *second.protocol}
    return Comparison(
        names=(first.matcher, second.matcher),
        differences=tuple(differences),
        solved=tuple(solved),
        left_out=(len(first.records) - len(pairs), len(second.records) - len(pairs)),
        seeds=tuple(max(map(len, r.errors.values()), default=0) for r in pairs[0]),
        protocol=tuple(sorted(k for k in keys if first.protocol.get(k) != second.protocol.get(k))),
    )


def common_estimators(pairs: Sequence[tuple[PairRecord, PairRecord]]) -> list[str]:
    return [name for name in pairs[0][0].errors if name in pairs[0][1].errors]


def _parts(pairs) -> dict[tuple[str, str], list[tuple[PairRecord, PairRecord]]]:
    """(set, "") -> its pairs, followed by (set, group) -> its pairs where a set has several."""
    sets: dict[str, list[tuple[PairRecord, PairRecord]]] = {}
    for pair in pairs:
        sets.setdefault(pair[0].set, []).append(pair)
    parts = {}
    for name, members in sets.items():
        parts[name, ""] = members
        groups: dict[str, list[tuple[PairRecord, PairRecord]]] = {}
        for a, b in members:
            groups.setdefault(a.group or "other", []).append((a, b))
        if len(groups) > 1:
            parts |= {(name, group): listed for group, listed in groups.items()}
    return parts


def _differences(kind: PairKind, pairs, resamples: int) -> list[Difference]:
    """Every score of every set and its groups, then of the mean of sets where there are several."""
    estimators = common_estimators(pairs)
    shares = [name for name in pairs[0][0].precision if name in kind.shown_shares]
    labels = [(name, f"AUC@{t:g}") for name in estimators for t in kind.thresholds]
    labels += [("", f"right {name}") for name in shares]
    scored = {}  # (set, group) -> the two rows of scores, and resampled differences [r scores]
    for (name, group), members in _parts(pairs).items():
        rng = np.random.default_rng(zlib.crc32(f"{name}{group}".encode()))
        scored[name, group] = resampled_scores(kind, members, estimators, shares, resamples, rng)
    sets = [scores for (_, group), scores in scored.items() if not group]
    if len(sets) > 1:
        scored[MEAN, ""] = tuple(np.mean(values, axis=0) for values in zip(*sets, strict=True))
    return [
        Difference(
            set=name,
            group=group,
            kind=kind,
            estimator=estimator,
            score=score,
            first=float(first[column]),
            second=float(second[column]),
            low=float(low),
            high=float(high),
        )
        for (name, group), (first, second, drawn) in scored.items()
        for column, (estimator, score) in enumerate(labels)
        for low, high in [np.percentile(drawn[:, column], (2.5, 97.5))]
    ]


def _solved(kind: PairKind, pairs) -> list[Solved]:
    """By the median error over seeds."""
    counts = []
    for name in common_estimators(pairs):
        a, b = (
            np.array([np.median(pair[side].errors[name]) < kind.solved for pair in pairs])
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
        what = f"{estimator}, {kind.unit}" if estimator else "share of right matches"
        table = Table(
            title=f"{kind.name}, {what}: {b} - {a}, points [95 % interval]", box=box.SIMPLE_HEAD
        )
        table.add_column("set", no_wrap=True)
        scores = dict.fromkeys(d.score for d in rows)
        for score in scores:
            table.add_column(score, justify="right")
        for label in dict.fromkeys(d.label for d in rows):
            table.add_row(label, *(_cell(d) for d in rows if d.label == label))
        tables.append(table)
    return tables


def _cell(d: Difference) -> str:
    mark = " *" if d.told else "  "
    difference = 100 * (d.second - d.first)
    interval = f"{100 * d.low:+.1f}, {100 * d.high:+.1f}"
    return f"{difference:+.1f} \\[{'one cluster' if math.isnan(d.low) else interval}]{mark}"


def verdicts(comparison: Comparison) -> list[str]:
    """In words: what differs, who solves what, and whether it is told from noise."""
    a, b = comparison.names
    lines = []
    if comparison.protocol:
        lines.append(f"The protocols differ in: {', '.join(comparison.protocol)}.")
    if any(comparison.left_out):
        counts = " and ".join(map(str, comparison.left_out))
        lines.append(f"Left out, as the other report lacks them: {counts} pairs of {a} and {b}.")
    for kind in dict.fromkeys(d.kind for d in comparison.differences):
        if not any(s.kind == kind for s in comparison.solved):
            lines.append(
                f"{kind.name}: the reports have no estimator in common, so only their matches "
                f"compare. Run one again with the same --{kind.name}-estimators."
            )
    for s in comparison.solved:
        lines.append(
            f"{s.kind.name}, {s.estimator}: of {s.pairs} pairs both solve {s.both} within "
            f"{s.kind.solved_words}, {a} alone {s.only_first}, {b} alone {s.only_second}."
        )
        key = s.kind, s.estimator, s.kind.solved_area, ""
        of_sets = [
            d for d in comparison.differences if (d.kind, d.estimator, d.score, d.group) == key
        ]
        lines.append(f"  {_verdict(of_sets[-1], a, b)}")  # the mean's, where there are several
    if comparison.solved and comparison.seeds == (1, 1):
        lines.append(
            "Both have one seed of the estimators: what another seed would change is not in the "
            "intervals (--seeds 5)."
        )
    return lines


def _verdict(d: Difference, a: str, b: str) -> str:
    points = 100 * (d.second - d.first)
    interval = f"95 % interval {100 * d.low:+.1f} to {100 * d.high:+.1f}"
    where = "in the mean of sets" if d.set == MEAN else f"on {d.set}"
    if math.isnan(d.low):
        return (
            f"{d.score} {where}: {points:+.1f} points from {a} to {b}, and no interval, as a set "
            "has one cluster alone: not told from noise."
        )
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
