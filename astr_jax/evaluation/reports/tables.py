"""Scores as text: Markdown for a README, a table for the terminal, published figures beside."""

import json
import pathlib
from collections.abc import Sequence

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from astr_jax.evaluation.reports.report import (
    MEAN,
    Report,
    SetScore,
    first_seconds,
    score_sets,
    steady_seconds,
)
from astr_jax.evaluation.scores.kinds import KINDS

PUBLISHED = pathlib.Path(__file__).with_name("published.json")


def auc_text(areas: Sequence[float], spreads: Sequence[float] | None = None) -> str:
    """Areas as the field prints them: 100 times, one decimal, slashes between thresholds.

    spreads: half of the range over seeds, where there are several.
    """
    if spreads is None:
        return " / ".join(f"{100 * area:.1f}" for area in areas)
    pairs = zip(areas, spreads, strict=True)
    return " / ".join(f"{100 * area:.1f}±{100 * spread:.1f}" for area, spread in pairs)


# Of the matches, once a set; ECE is the expected calibration error of their confidences.
COLUMNS = ("right %", "ECE", "matches", "first s", "steady s", "failed")


def rows_of(score: SetScore, seeds: int) -> list[list[str]]:
    """The rows of a set: a row for each estimator with its areas; in the first one the set, its
    pairs and COLUMNS too."""
    areas = [
        [name, auc_text(area, score.auc_spread[name] if seeds > 1 else None)]
        for name, area in score.auc.items()
    ]
    matches = [
        "/".join(f"{100 * score.precision[name]:.1f}" for name in score.kind.shown_shares),
        "-" if score.ece is None else f"{score.ece:.3f}",
        f"{score.num_matches:.0f}",
        "-" if score.seconds_first is None else f"{score.seconds_first:.2f}",
        f"{score.seconds:.2f}",
        str(score.num_failures),
    ]
    first = [score.label, str(score.num_pairs), *areas[0], *matches]
    return [first, *(["", "", *area, *[""] * len(matches)] for area in areas[1:])]


def screen_table(scores: Sequence[SetScore], seeds: int = 1) -> Table:
    """Scores of one kind of truth, of all pairs or of checked ones, for the terminal."""
    first = scores[0]
    which = "checked pairs" if first.checked_only else "all pairs"
    spread = f", mean of {seeds} seeds ± half of their spread" if seeds > 1 else ""
    table = Table(
        title=f"{first.kind.area_name}{spread}, {which}; right: {first.kind.shown_words}",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("set", no_wrap=True)
    for column in ("pairs", "estimator", "AUC", *COLUMNS):
        table.add_column(column, justify="right", no_wrap=True)
    for score in scores:
        for row in rows_of(score, seeds):
            table.add_row(*row)
    return table


def print_table(table: Table, console: Console) -> None:
    """As wide as the table is: a cut one tells less than one too wide."""
    wide = console.options.update(max_width=1000)
    console.width = max(console.width, console.measure(table, options=wide).maximum)
    console.print(table)


def markdown_tables(reports: Sequence[Report], *, checked_only: bool = False) -> str:
    """One table per kind of truth and estimator: sets down, matchers across."""
    scored = [
        {(s.kind, s.set, s.group): s for s in score_sets(r.records, checked_only=checked_only)}
        for r in reports
    ]
    keys = list(dict.fromkeys(key for scores in scored for key in scores))
    names = {
        kind: list(
            dict.fromkeys(n for c in scored for k, s in c.items() if k[0] == kind for n in s.auc)
        )
        for kind in KINDS
    }
    tables = [
        _markdown_table(kind, estimator, [key for key in keys if key[0] == kind], reports, scored)
        for kind in KINDS
        for estimator in names[kind]
    ]
    return "\n\n".join([*tables, "\n".join(map(_note, reports))])


def _note(report: Report) -> str:
    """A line on how a report was measured."""
    protocol, records = report.protocol, report.records
    seeds, failed = len(protocol["seeds"]), sum(r.failure is not None for r in records)
    steady, first = steady_seconds(records), first_seconds(records) or 0.0
    words = [
        f"{report.matcher}: {report.image_size}",
        f"{seeds} seeds of the estimators, mean ± half of the range" if seeds > 1 else "one seed",
        f"at most {most} matches" if (most := protocol["max_matches"]) else "all matches",
        f"{np.mean([r.num_matches for r in records]):.0f} a pair",
        f"{steady:.2f} s a pair after a first one of {first:.2f} s",
        f"on {protocol.get('device')}",
        f"{failed} of {len(records)} pairs failed",
    ]
    words += [f"memory {report.memory}"] if report.memory else []
    return f"- {', '.join(words)}." + (f" {report.missing}." if report.missing else "")


def _markdown_table(kind, estimator, keys, reports, scored) -> str:
    name = kind.area_name
    lines = [
        f"{name[0].upper()}{name[1:]}, {estimator}:",
        "",
        "| set | pairs | " + " | ".join(report.matcher for report in reports) + " |",
        "|---" * (2 + len(reports)) + "|",
    ]
    # The mean rows come last, whatever the order of the reports.
    for key in sorted(keys, key=lambda key: key[1] == MEAN):
        found = [scores.get(key) for scores in scored]
        known = [score for score in found if score is not None]
        count = " or ".join(map(str, sorted({score.num_pairs for score in known})))
        row = [_area(s, estimator, r) for s, r in zip(found, reports, strict=True)]
        lines.append(f"| {known[0].label} | {count} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def _area(score: SetScore | None, estimator: str, report: Report) -> str:
    if score is None or estimator not in score.auc:
        return "-"
    several = len(report.protocol["seeds"]) > 1
    return auc_text(score.auc[estimator], score.auc_spread[estimator] if several else None)


def published_tables(reports: Sequence[Report]) -> str:
    """The published figures of each benchmark, and ours where a report is of that benchmark."""
    tables = []
    for entry in json.loads(PUBLISHED.read_text(encoding="utf-8")):
        lines = [
            f"{entry['title']}, {entry['metric']}:",
            "",
            "| method | figures | from |",
            "|---|---|---|",
        ]
        for row in entry["rows"]:
            figures = " / ".join(f"{figure:.1f}" for figure in row["figures"])
            lines.append(f"| {row['method']} | {figures} | published: {row['source']} |")
        for report in reports:
            if report.protocol["benchmark"] == entry["benchmark"]:
                lines += _our_rows(report, entry)
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def _our_rows(report: Report, entry: dict) -> list[str]:
    """Our figures at the published thresholds: a row per estimator."""
    score = score_sets(report.records)[0]
    if "thresholds" not in entry:
        return []
    at = [score.kind.thresholds.index(threshold) for threshold in entry["thresholds"]]
    return [
        f"| {report.matcher} | {auc_text([areas[i] for i in at])} | measured: {name}, "
        f"{report.image_size}, {report.missing or f'{score.num_pairs} pairs'} |"
        for name, areas in score.auc.items()
    ]
