"""Records of pairs to scores of sets, to a file and back, and to Markdown tables.

A report file is JSON: `matcher`, `protocol` (everything that moves the figures), `scores` (for
readers) and `records`, one per pair, from which all scores follow; null stands for an infinite
error.
"""

import dataclasses
import importlib.metadata
import json
import math
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from astr_jax import metrics
from astr_jax.evaluation import estimators
from astr_jax.evaluation.pairs import LONG_SIDE, MULTIPLE, PairRecord
from astr_jax.files import replacing

FORMAT = 1  # of the report file
THRESHOLDS = {"pose": metrics.POSE_THRESHOLDS, "homography": metrics.CORNER_THRESHOLDS}
MEAN = "mean of sets"  # the row of the plain mean over sets of one kind


@dataclasses.dataclass(frozen=True, kw_only=True)
class SetScore:
    """What one matcher got on one set, over all pairs or the checked ones."""

    set: str
    kind: str  # "pose" or "homography"
    checked_only: bool
    num_pairs: int
    num_failures: int  # pairs that raised an error; they count as errors of inf
    auc: dict[str, list[float]]  # estimator -> one area per threshold of THRESHOLDS[kind], [0, 1]
    precision: dict[str, float]  # mean over pairs of the share of right matches
    num_matches: float  # mean over pairs
    seconds: float  # median over pairs, so that compiling does not count


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """A matcher's records, and the protocol they were made under."""

    matcher: str
    protocol: dict
    records: tuple[PairRecord, ...]


def protocol(matcher: dict, *, long_side: int = LONG_SIDE, multiple: int = MULTIPLE) -> dict:
    """What a reader must know to compare the figures with others; `matcher`: its own settings."""
    return {
        **matcher,
        "long_side": long_side,
        "sides": f"rounded down to multiples of {multiple}",
        "resize": "area averaging",
        "pose_estimators": list(estimators.POSE_ESTIMATORS),
        "homography_estimators": list(estimators.HOMOGRAPHY_ESTIMATORS),
        "pose_confidence": estimators.POSE_CONFIDENCE,
        "homography_confidence": estimators.HOMOGRAPHY_CONFIDENCE,
        "max_iterations": estimators.MAX_ITERATIONS,
        "opencv": importlib.metadata.version("opencv-python-headless"),
        "poselib": importlib.metadata.version("poselib"),
    }


def score_sets(records: Iterable[PairRecord], *, checked_only: bool = False) -> list[SetScore]:
    """Scores of each set in order of appearance, then a mean row per kind with several sets.

    Sets without a pair left (`checked_only`) are left out.
    """
    groups: dict[tuple[str, str], list[PairRecord]] = {}
    for record in records:
        if record.checked or not checked_only:
            groups.setdefault((record.kind, record.set), []).append(record)
    scores = [_score(group, checked_only) for group in groups.values()]
    for kind in THRESHOLDS:
        of_kind = [score for score in scores if score.kind == kind]
        if len(of_kind) > 1:
            scores.append(_mean(of_kind))
    return scores


def _score(group: list[PairRecord], checked_only: bool) -> SetScore:
    first = group[0]
    return SetScore(
        set=first.set,
        kind=first.kind,
        checked_only=checked_only,
        num_pairs=len(group),
        num_failures=sum(record.failure is not None for record in group),
        auc={
            name: metrics.error_auc([r.errors[name] for r in group], THRESHOLDS[first.kind])
            for name in first.errors
        },
        precision={
            name: float(np.mean([r.precision[name] for r in group])) for name in first.precision
        },
        num_matches=float(np.mean([r.num_matches for r in group])),
        seconds=float(np.median([r.seconds for r in group])),
    )


def _mean(scores: Sequence[SetScore]) -> SetScore:
    """The plain mean over sets, each counting the same."""
    first = scores[0]
    return dataclasses.replace(
        first,
        set=MEAN,
        num_pairs=sum(s.num_pairs for s in scores),
        num_failures=sum(s.num_failures for s in scores),
        auc={n: np.mean([s.auc[n] for s in scores], axis=0).tolist() for n in first.auc},
        precision={n: float(np.mean([s.precision[n] for s in scores])) for n in first.precision},
        num_matches=float(np.mean([s.num_matches for s in scores])),
        seconds=float(np.mean([s.seconds for s in scores])),
    )


def write_report(report: Report, path: str | pathlib.Path) -> None:
    """Writes a report as JSON, with the scores of all and of checked pairs beside the records."""
    records = []
    for record in report.records:
        entry = dataclasses.asdict(record)
        entry["errors"] = {n: e if math.isfinite(e) else None for n, e in record.errors.items()}
        records.append(entry)
    scores = [*score_sets(report.records), *score_sets(report.records, checked_only=True)]
    document = {
        "format": FORMAT,
        "matcher": report.matcher,
        "protocol": report.protocol,
        "scores": [dataclasses.asdict(score) for score in scores],
        "records": records,
    }
    with replacing(path) as beside:
        beside.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")


def read_report(path: str | pathlib.Path) -> Report:
    """Reads what write_report wrote."""
    try:
        document = json.loads(pathlib.Path(path).read_text())
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}, not {FORMAT}")
        entries = [
            entry
            | {"errors": {n: math.inf if e is None else e for n, e in entry["errors"].items()}}
            for entry in document["records"]
        ]
        records = tuple(PairRecord(**entry) for entry in entries)
        return Report(matcher=document["matcher"], protocol=document["protocol"], records=records)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not a report of `eval.py pairs --out`: {error}. Run the evaluation again."
        ) from error


def auc_text(areas: Sequence[float]) -> str:
    """Areas as the field prints them: 100 times, one decimal, slashes between thresholds."""
    return " / ".join(f"{100 * area:.1f}" for area in areas)


def markdown_tables(reports: Sequence[Report], *, checked_only: bool = False) -> str:
    """One table per kind of truth and estimator: sets down, matchers across."""
    scored = [
        {(s.kind, s.set): s for s in score_sets(r.records, checked_only=checked_only)}
        for r in reports
    ]
    keys = list(dict.fromkeys(key for scores in scored for key in scores))
    names = {
        kind: list(
            dict.fromkeys(n for c in scored for k, s in c.items() if k[0] == kind for n in s.auc)
        )
        for kind in THRESHOLDS
    }
    tables = [
        _markdown_table(kind, estimator, [key for key in keys if key[0] == kind], reports, scored)
        for kind in THRESHOLDS
        for estimator in names[kind]
    ]
    return "\n\n".join(tables)


def _markdown_table(kind, estimator, keys, reports, scored) -> str:
    what = "Pose AUC" if kind == "pose" else "Corner AUC"
    unit = "degrees" if kind == "pose" else "px"
    thresholds = "/".join(f"{threshold:g}" for threshold in THRESHOLDS[kind])
    sides = sorted({str(report.protocol.get("long_side")) for report in reports})
    lines = [
        f"{what}@{thresholds} {unit}, {estimator}, long side {' or '.join(sides)} px:",
        "",
        "| set | pairs | " + " | ".join(report.matcher for report in reports) + " |",
        "|---" * (2 + len(reports)) + "|",
    ]
    # The mean rows come last, whatever the order of the reports.
    for key in sorted(keys, key=lambda key: key[1] == MEAN):
        pairs = sorted({scores[key].num_pairs for scores in scored if key in scores})
        cells = [
            auc_text(scores[key].auc[estimator]) if key in scores else "-" for scores in scored
        ]
        count = " or ".join(map(str, pairs))
        lines.append(f"| {key[1]} | {count} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
