"""Curves of reports: cumulative errors, error against what makes a pair hard, calibration.

One colour per report, in their order. Figures are made without pyplot.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from astr_jax.evaluation.reports.records import PairRecord
from astr_jax.evaluation.reports.report import Report, score_sets
from astr_jax.evaluation.scores.calibration import (
    CONFIDENCE_EDGES,
    LARGEST_SIGMA,
    expected_calibration_error,
    median_errors,
    pooled,
    sigma_factor,
)
from astr_jax.evaluation.scores.homographies import HOMOGRAPHY
from astr_jax.evaluation.scores.kinds import KINDS
from astr_jax.evaluation.scores.pair_kind import PairKind

COLOURS = ("#1f6fb4", "#d9622b", "#2b9a66", "#8f5bb5", "#b8860b", "#c03a5b", "#3aa6b0", "#6b6b6b")
PANEL, MOST_IN_ROW = 4.2, 3  # inches, panels
FEWEST = 50  # matches of a bin whose share is drawn
SMALLEST_ERROR = 0.05  # that is shown; smaller ones lie on the edge
KNOWN = {  # field of a record -> label of its axis
    "overlap": "overlap",
    "scale_ratio": "true scale ratio, the larger by the smaller",
    "rotation": "true rotation about the optical axis, degrees",
}


def kinds_of(reports: Sequence[Report]) -> list[PairKind]:
    """The kinds of their pairs, in the order of KINDS."""
    found = {record.kind for report in reports for record in report.records}
    return [kind for kind in KINDS if kind in found]


def used_estimators(reports: Sequence[Report], kind: PairKind) -> list[str]:
    """The estimators that any of the reports has for a kind of pairs."""
    records = (record for report in reports for record in report.records if record.kind == kind)
    return list(dict.fromkeys(name for record in records for name in record.errors))


def draw_curves(reports: Sequence[Report]) -> Figure:
    """Share of pairs below each error, each set counting the same: a panel per estimator."""
    kinds = kinds_of(reports)
    panels = [(kind, name) for kind in kinds for name in used_estimators(reports, kind)]
    figure, axes = _panels(len(panels))
    for pane, (kind, name) in zip(axes, panels, strict=True):
        most = kind.thresholds[-1]
        x = np.linspace(0, most, 400)
        for colour, report in zip(_colours(reports), reports, strict=True):
            records = [r for r in report.records if r.kind == kind and name in r.errors]
            if records:
                area = _last_whole(records).auc[name]
                at = dict(zip(kind.thresholds, area, strict=True))[kind.solved]
                label = f"{report.matcher} ({100 * at:.1f})"
                pane.plot(x, _share_below(records, name, x), color=colour, lw=1.8, label=label)
        for threshold in kind.thresholds[:-1]:
            pane.axvline(threshold, color="0.8", lw=0.8, zorder=0)
        what = f"{kind.error_words}, {kind.unit}"
        pane.set(title=name, xlabel=what, xlim=(0, most), ylim=(0, 1.02))
        pane.set_ylabel("share of pairs, mean of sets")
        _legend(pane, kind.solved_area, "lower right")
    return figure


def _last_whole(records: Sequence[PairRecord]):
    """The score of the only set, or of the mean of sets."""
    return [score for score in score_sets(records) if not score.group][-1]


def _share_below(records: Sequence[PairRecord], name: str, x: np.ndarray) -> np.ndarray:
    sets: dict[str, list] = {}
    for record in records:
        sets.setdefault(record.set, []).extend(record.errors[name])
    return np.mean([np.searchsorted(np.sort(e), x) / len(e) for e in sets.values()], axis=0)


def draw_accuracy(reports: Sequence[Report]) -> Figure | None:
    """Mean matching accuracy: the share of matches within 1 to 10 px of the homography."""
    names = HOMOGRAPHY.share_names
    figure, (pane,) = _panels(1)
    for colour, report in zip(_colours(reports), reports, strict=True):
        records = [r for r in report.records if r.kind == HOMOGRAPHY]
        if records:
            means = _last_whole(records).precision
            values = [means[name] for name in names]
            pane.plot(range(1, 11), values, color=colour, lw=1.8, marker="o", ms=3.5)
            pane.lines[-1].set_label(report.matcher)
    if not pane.lines:
        return None
    pane.set(title="matching accuracy", xlabel="within, px", xlim=(1, 10), ylim=(0, 1.02))
    pane.set_ylabel("share of matches, mean of sets")
    _legend(pane, None, "lower right")
    return figure


def draw_difficulty(reports: Sequence[Report], kind: PairKind) -> Figure | None:
    """The error of the first estimator against overlap, scale ratio and rotation, where known.

    Dots are pairs; lines join the medians of eight equal parts of the pairs.
    """
    name = used_estimators(reports, kind)[0]
    known = [
        field
        for field in KNOWN
        if any(len(_difficulty(report, kind, name, field)[0]) > 1 for report in reports)
    ]
    if not known:
        return None
    figure, axes = _panels(len(known))
    for pane, field in zip(axes, known, strict=True):
        for colour, report in zip(_colours(reports), reports, strict=True):
            x, error = _difficulty(report, kind, name, field)
            if not len(x):
                continue
            pane.plot(x, error, ".", color=colour, ms=6, alpha=0.45, mew=0)
            parts = np.array_split(np.argsort(x, kind="stable"), max(1, min(8, len(x) // 4)))
            line = np.array([(np.median(x[part]), np.median(error[part])) for part in parts])
            pane.plot(*line.T, color=colour, lw=1.8, marker="o", ms=3.5, label=report.matcher)
        pane.axhline(kind.solved, color="0.6", lw=0.9, ls="--", zorder=0)
        low, high = SMALLEST_ERROR, kind.largest_error
        pane.set(yscale="log", ylim=(low * 0.8, high * 1.25), xlabel=KNOWN[field])
        pane.set_ylabel(f"{name} error, {kind.unit}")
        _plain_log(pane.yaxis, (0.1, 1, 10, 100))
    _legend(axes[0], None, "best")
    return figure


def _difficulty(report: Report, kind: PairKind, name: str, field: str):
    """Field and error, held within the drawn range, of the pairs whose field is known."""
    rows = [
        (getattr(r, field), np.median(r.errors[name]))
        for r in report.records
        if r.kind == kind and name in r.errors and getattr(r, field) is not None
    ]
    x, error = np.array(rows, float).reshape(-1, 2).T
    if field == "scale_ratio":
        x = np.exp(np.abs(np.log(x)))
    if field == "rotation":
        x = np.abs(x)
    return x, np.clip(error, SMALLEST_ERROR, kind.largest_error)


def draw_calibration(reports: Sequence[Report], kind: PairKind) -> Figure | None:
    """Confidence against the share of right matches, and sigma against the true error.

    Without a matcher that gives no sigma, or confidences that are no probabilities.
    """
    panels = []
    for draw, field in ((_draw_confidence, "confidence_bins"), (_draw_sigma, "sigma_bins")):
        rows = [
            (colour, report, pooled(getattr(r, field) for r in report.records if r.kind == kind))
            for colour, report in zip(_colours(reports), reports, strict=True)
        ]
        rows = [row for row in rows if row[2] is not None]
        if rows:
            panels.append((draw, rows))
    if not panels:
        return None
    figure, axes = _panels(len(panels))
    for pane, (draw, rows) in zip(axes, panels, strict=True):
        draw(pane, rows, kind)
    return figure


def _draw_confidence(pane: Axes, rows, kind: PairKind) -> None:
    pane.plot([0, 1], [0, 1], color="0.6", lw=0.9, ls="--", zorder=0)
    for colour, report, histogram in rows:
        enough = histogram["matches"] >= FEWEST
        if not enough.any():
            continue
        count = histogram["matches"][enough]
        x, y = histogram["claimed"][enough] / count, histogram["right"][enough] / count
        _dotted(pane, x, y, count, colour)
        label = f"{report.matcher} ({expected_calibration_error(histogram):.3f})"
        pane.lines[-1].set_label(label)
    pane.set(xlabel="confidence", ylabel=f"share of right matches\n({kind.right_words})")
    pane.set(xlim=(0, 1), ylim=(0, 1.03), xticks=CONFIDENCE_EDGES[::2], title="confidence")
    _legend(pane, "expected calibration error", "best")


def _draw_sigma(pane: Axes, rows, kind: PairKind) -> None:
    """The median error of each bin against its mean sigma, log-log."""
    ends = np.array([0.1, 1.5 * LARGEST_SIGMA])
    claimed = ends * kind.median_of_sigma_1
    pane.plot(ends, claimed, color="0.6", lw=0.9, ls="--", zorder=0, label=kind.claim_words)
    for colour, report, histogram in rows:
        sigma, median, near = median_errors(histogram, FEWEST)
        if not len(sigma):
            continue
        _dotted(pane, sigma, median, near, colour)
        factor = sigma_factor(histogram, kind.median_of_sigma_1)
        pane.lines[-1].set_label(f"{report.matcher} (sigma x {factor:.2f} fits)")
    pane.set(xlabel="sigma, px", ylabel=f"median error, {kind.pixel_words}, px")
    pane.set(xscale="log", yscale="log", title="sigma", xlim=ends, ylim=ends)
    for axis in (pane.xaxis, pane.yaxis):
        _plain_log(axis, (0.125, 0.25, 0.5, 1, 2, 5, 10))
    _legend(pane, None, "upper left")


def _dotted(pane: Axes, x, y, count, colour: str) -> None:
    """A line with a dot at each bin, its area the bin's share of the matches."""
    pane.scatter(x, y, s=10 + 150 * count / count.sum(), color=colour, alpha=0.6, lw=0)
    pane.plot(x, y, color=colour, lw=1.8)


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    """Panels side by side, at most MOST_IN_ROW of them in a row."""
    columns = min(count, MOST_IN_ROW)
    rows = -(-count // columns)
    figure = Figure(figsize=(PANEL * columns + 0.6, PANEL * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    axes = list(grid[:count])
    for unused in grid[count:]:
        unused.remove()
    for pane in axes:
        pane.spines[["top", "right"]].set_visible(False)
        pane.grid(alpha=0.2)
    return figure, axes


def _plain_log(axis, ticks: Sequence[float]) -> None:
    """Ticks as plain numbers, without minor ones."""
    axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)


def _legend(pane: Axes, title: str | None, place: str) -> None:
    if pane.get_legend_handles_labels()[0]:
        pane.legend(frameon=False, fontsize=8.5, title=title, title_fontsize=8.5, loc=place)


def _colours(reports: Sequence[Report]) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(len(reports))]
