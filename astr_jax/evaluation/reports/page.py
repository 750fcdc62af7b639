"""Reports as one HTML file that needs no other: tables, curves, calibration, pairs, protocol."""

import base64
import html
import io
from collections.abc import Sequence

from matplotlib.figure import Figure

from astr_jax.evaluation.reports import figures
from astr_jax.evaluation.reports.compare import compare, verdicts
from astr_jax.evaluation.reports.pictures import Picture
from astr_jax.evaluation.reports.report import Report, score_sets, stated
from astr_jax.evaluation.reports.tables import COLUMNS, rows_of
from astr_jax.evaluation.scores.calibration import SIGMA_EDGES

DPI = 110
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2026; max-width: 1150px; margin: 2em auto;
       padding: 0 1em; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2.2em; }
table { border-collapse: collapse; font-size: 13px; margin: 0.6em 0 1.4em; display: block;
        overflow-x: auto; }
th, td { padding: 3px 10px; text-align: right; white-space: nowrap; }
th { border-bottom: 1px solid #888; font-weight: 600; }
tr:nth-child(even) td { background: #f5f6f8; }
th:first-child, td:first-child { text-align: left; }
.protocol td { text-align: left; white-space: normal; }
.differs td { background: #fff3d6 !important; }
figure { margin: 0 0 1.4em; } img { max-width: 100%; }
figcaption, .note { color: #5a626d; font-size: 13px; }
"""


def page_of(reports: Sequence[Report], pictures: Sequence[Picture] = ()) -> str:
    """The whole page, pictures embedded."""
    names = ", ".join(report.matcher for report in reports)
    benchmark = ", ".join(dict.fromkeys(r.protocol["benchmark"] for r in reports))
    parts = [f"<h1>{html.escape(benchmark)}: {html.escape(names)}</h1>"]
    listings = {frozenset((r.set, r.name) for r in report.records) for report in reports}
    if len(listings) > 1:
        words = "The reports are not of the same pairs: their curves and means do not compare."
        parts.append(f"<p><strong>{words}</strong></p>")
    missing = [f"{report.matcher}: {report.missing}." for report in reports if report.missing]
    parts += [f"<p><strong>{html.escape(words)}</strong></p>" for words in missing]
    parts += [_scores(reports), "<h2>Errors</h2>", _image(figures.draw_curves(reports))]
    parts.append(_note("In brackets: the area under the curve, 100 times."))
    accuracy = figures.draw_accuracy(reports)
    if accuracy:
        parts.append(_image(accuracy))
    for kind in figures.kinds_of(reports):
        difficulty = figures.draw_difficulty(reports, kind)
        if difficulty:
            parts += [f"<h2>What makes a pair hard: {kind.name}</h2>", _image(difficulty)]
            parts.append(
                _note(
                    "Dots are pairs, lines their medians in eight equal parts; the dashed line is "
                    "where a pair counts as solved. Larger errors, and pairs without an estimate, "
                    "lie at the top. Pairs with poses have no scale ratio here: it needs depth."
                )
            )
        calibration = figures.draw_calibration(reports, kind)
        if calibration:
            parts += [f"<h2>Calibration: {kind.name}</h2>", _image(calibration)]
            parts.append(
                _note(
                    f"Bins of {figures.FEWEST} matches and more; a dot's area is its bin's share "
                    "of all matches. Sigma is judged by the errors below "
                    f"{SIGMA_EDGES[-2]:g} px, right or wrong; in brackets what it must be "
                    "multiplied by to fit them."
                )
            )
    if len(reports) == 2:
        parts += ["<h2>Comparison</h2>", *map(_note, verdicts(compare(*reports)))]
    if pictures:
        parts.append("<h2>Pairs</h2>")
        parts += [_image(p.figure, p.words) if p.figure else _note(p.words) for p in pictures]
    parts += [_failures(reports), _protocols(reports)]
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>"
        f"{html.escape(benchmark)}: {html.escape(names)}</title><style>{STYLE}</style></head>\n"
        "<body>" + "\n".join(parts) + "</body></html>\n"
    )


def _scores(reports: Sequence[Report]) -> str:
    """A table per kind, of all and of checked pairs, the reports below each other."""
    parts = []
    for report in reports:
        seeds = len(report.protocol["seeds"])
        for kind in figures.kinds_of([report]):
            records = [r for r in report.records if r.kind == kind]
            some = 0 < sum(r.checked for r in records) < len(records)
            for checked in (False, True) if some else (False,):
                scores = score_sets(records, checked_only=checked)
                which = ", checked pairs" if checked else ""
                title = f"{report.matcher}{which}: {kind.area_name}, {report.image_size}"
                right = f"right %: {kind.shown_words}"
                head = ["set", "pairs", "estimator", "AUC", right, *COLUMNS[1:]]
                parts.append(f"<h2>{html.escape(title)}</h2>")
                parts.append(
                    _table(head, [row for score in scores for row in rows_of(score, seeds)])
                )
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], classes=None) -> str:
    def line(tag: str, row: Sequence[str]) -> str:
        return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)

    classes = classes or [""] * len(rows)
    body = "\n".join(
        f"<tr class='{name}'>{line('td', row)}</tr>"
        for row, name in zip(rows, classes, strict=True)
    )
    return f"<table><tr>{line('th', head)}</tr>\n{body}</table>"


def _protocols(reports: Sequence[Report]) -> str:
    """Settings down, reports across; rows that differ are marked, but not what was measured."""
    words = [stated(report) for report in reports]
    rows, classes = [], []
    for key in dict.fromkeys(key for settings in words for key in settings):
        values = [settings.get(key, "-") for settings in words]
        rows.append([key, *values])
        setting = any(key in report.protocol for report in reports)
        classes.append("differs" if setting and len(set(values)) > 1 else "")
    table = _table(["", *(report.matcher for report in reports)], rows, classes)
    return "<h2>Protocol</h2>" + table.replace("<table>", "<table class='protocol'>")


def _failures(reports: Sequence[Report]) -> str:
    rows = [
        [report.matcher, record.set, record.name, record.failure]
        for report in reports
        for record in report.records
        if record.failure
    ]
    if not rows:
        return ""
    return "<h2>Failures</h2>" + _table(["matcher", "set", "pair", "error"], rows)


def _image(figure: Figure, words: str = "") -> str:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=DPI, facecolor=figure.get_facecolor())
    text = base64.b64encode(data.getvalue()).decode()
    caption = f"<figcaption>{html.escape(words)}</figcaption>" if words else ""
    alt = html.escape(words or "curves", quote=True)
    return f"<figure>{caption}<img alt=\"{alt}\" src='data:image/png;base64,{text}'></figure>"


def _note(words: str) -> str:
    return f"<p class='note'>{html.escape(words)}</p>"
