"""Records of pairs to scores of sets, and to a file and back.

A report file is JSON: `matcher`, `protocol` (everything that moves the figures), `scores` (for
readers) and `records`. A record is one line per pair, and all scores follow from them; null stands
for an infinite error.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from astr_jax.evaluation.benchmarks.resizing import Resize
from astr_jax.evaluation.reports.records import PairRecord, record_line, record_of
from astr_jax.evaluation.scores import metrics
from astr_jax.evaluation.scores.calibration import expected_calibration_error, pooled
from astr_jax.evaluation.scores.kinds import KINDS
from astr_jax.evaluation.scores.pair_kind import PairKind
from astr_jax.files import replacing

FORMAT = 2  # of the report file
STATED = ("benchmark", "resize", "whole", "max_matches", "seeds")  # what every protocol has
MEAN = "mean of sets"  # the row of the plain mean over sets of one kind


@dataclasses.dataclass(frozen=True, kw_only=True)
class SetScore:
    """What one matcher got on one set or a group of it, over all pairs or the checked ones."""

    set: str
    group: str  # "" : the whole set
    kind: PairKind  # its name in the file
    checked_only: bool
    num_pairs: int
    num_failures: int  # pairs that raised an error; they count as errors of inf
    # estimator -> one area per threshold of the kind, in [0, 1], the mean over seeds
    auc: dict[str, list[float]]
    auc_spread: dict[str, list[float]]  # half of the largest minus the smallest of the seeds
    precision: dict[str, float]  # name of a share -> its mean over pairs
    num_matches: float  # mean over pairs
    seconds: float  # median over pairs without first calls, so that compiling does not count
    seconds_first: float | None  # the longest first call, where there is one
    ece: float | None  # expected calibration error of the matches' confidences, where they are any

    @property
    def label(self) -> str:
        return f"{self.set}: {self.group}" if self.group else self.set


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """A matcher's records, and the protocol they were made under."""

    matcher: str
    protocol: dict
    records: tuple[PairRecord, ...]

    @property
    def image_size(self) -> str:
        """The resize rule in words."""
        return str(resize_of(self.protocol))

    @property
    def missing(self) -> str:
        """What the benchmark has and this report lacks, in words; "" where it is whole."""
        whole = self.protocol["whole"]
        if len(self.records) == whole:
            return ""
        name = self.protocol["benchmark"]
        return f"{len(self.records)} pairs of the {whole} of {name}: no figure of the whole"

    @property
    def memory(self) -> str:
        """The highest peaks, of the process with all that it loaded and of the device; "" if
        unknown."""
        peaks = {
            "of the process": _highest(r.memory_mib for r in self.records),
            "of the device": _highest(r.device_memory_mib for r in self.records),
        }
        known = [f"{peak:.0f} MiB {where}" for where, peak in peaks.items() if peak is not None]
        return "at most " + " and ".join(known) if known else ""


def told_apart(reports: Sequence[Report]) -> list[Report]:
    """The reports, their matchers numbered where two are called the same."""
    names = [report.matcher for report in reports]
    numbered = (f"{name} ({names[:i].count(name) + 1})" for i, name in enumerate(names))
    return [
        report if names.count(report.matcher) == 1 else dataclasses.replace(report, matcher=name)
        for report, name in zip(reports, numbered, strict=True)
    ]


def stated(report: Report) -> dict[str, str]:
    """The protocol in words, and the peak of memory."""

    def words(value) -> str:
        if isinstance(value, dict):
            return "; ".join(f"{k} {words(v)}".strip() for k, v in value.items())
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    known = {"resize": report.image_size} | {
        key: words(value)
        for key, value in report.protocol.items()
        if key != "resize" and value != {}
    }
    return known | ({"memory": report.memory} if report.memory else {})


def resize_of(protocol: dict) -> Resize:
    """The rule that a protocol states."""
    sides = protocol["resize"].items()
    return Resize(**{k: tuple(v) if isinstance(v, list) else v for k, v in sides})


def score_sets(records: Iterable[PairRecord], *, checked_only: bool = False) -> list[SetScore]:
    """Scores of each set in order of appearance, then a mean row per kind with several sets.

    The groups of a set that has several follow it. Sets without a pair left (`checked_only`) are
    left out.
    """
    sets: dict[tuple[str, str], list[PairRecord]] = {}
    for record in records:
        if record.checked or not checked_only:
            sets.setdefault((record.kind, record.set), []).append(record)
    scores = []
    for members in sets.values():
        scores.append(_score(members, "", checked_only))
        groups = dict.fromkeys(record.group for record in members)
        if len(groups) > 1:
            scores += [
                _score([r for r in members if r.group == group], group or "other", checked_only)
                for group in groups
            ]
    for kind in KINDS:
        of_kind = [score for score in scores if score.kind == kind and not score.group]
        if len(of_kind) > 1:
            scores.append(_mean(of_kind))
    return scores


def _score(members: list[PairRecord], group: str, checked_only: bool) -> SetScore:
    first = members[0]
    areas = {
        name: np.array(
            [
                metrics.error_auc(errors, first.kind.thresholds)
                for errors in zip(*(r.errors[name] for r in members), strict=True)
            ]
        )
        for name in first.errors
    }  # [seeds thresholds] each
    return SetScore(
        set=first.set,
        group=group,
        kind=first.kind,
        checked_only=checked_only,
        num_pairs=len(members),
        num_failures=sum(record.failure is not None for record in members),
        auc={name: a.mean(axis=0).tolist() for name, a in areas.items()},
        auc_spread={name: (np.ptp(a, axis=0) / 2).tolist() for name, a in areas.items()},
        precision={
            name: float(np.mean([r.precision[name] for r in members])) for name in first.precision
        },
        num_matches=float(np.mean([r.num_matches for r in members])),
        seconds=steady_seconds(members),
        seconds_first=first_seconds(members),
        ece=_calibration_error(members),
    )


def _calibration_error(members: Sequence[PairRecord]) -> float | None:
    histogram = pooled(record.confidence_bins for record in members)
    return None if histogram is None else expected_calibration_error(histogram)


def steady_seconds(records: Sequence[PairRecord]) -> float:
    """The median time of a pair, without first calls where there are others.

    0 where all failed, as a failed pair was not timed to its end.
    """
    matched = [r for r in records if r.failure is None]
    steady = [r.seconds for r in matched if not r.first_call]
    return float(np.median(steady or [r.seconds for r in matched] or [0.0]))


def first_seconds(records: Iterable[PairRecord]) -> float | None:
    """The longest first call of a process; None where no record is one."""
    return _highest(r.seconds for r in records if r.first_call)


def _highest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _mean(scores: Sequence[SetScore]) -> SetScore:
    """The plain mean over sets, each counting the same; half of the spreads' mean likewise."""
    first = scores[0]
    return dataclasses.replace(
        first,
        set=MEAN,
        num_pairs=sum(s.num_pairs for s in scores),
        num_failures=sum(s.num_failures for s in scores),
        auc={n: np.mean([s.auc[n] for s in scores], axis=0).tolist() for n in first.auc},
        auc_spread={
            n: np.mean([s.auc_spread[n] for s in scores], axis=0).tolist() for n in first.auc_spread
        },
        precision={n: float(np.mean([s.precision[n] for s in scores])) for n in first.precision},
        num_matches=float(np.mean([s.num_matches for s in scores])),
        seconds=float(np.mean([s.seconds for s in scores])),
        seconds_first=_highest(s.seconds_first for s in scores),
        ece=None if None in (found := [s.ece for s in scores]) else float(np.mean(found)),
    )


def _plain(score: SetScore) -> dict:
    """Fit for JSON."""
    return {f.name: getattr(score, f.name) for f in dataclasses.fields(score)} | {
        "kind": score.kind.name
    }


def write_report(report: Report, path: str | pathlib.Path) -> None:
    """Writes a report as JSON, with the scores of all and of checked pairs beside the records."""
    scores = [*score_sets(report.records), *score_sets(report.records, checked_only=True)]
    head = {
        "format": FORMAT,
        "matcher": report.matcher,
        "protocol": report.protocol,
        "scores": [_plain(score) for score in scores],
    }
    lines = ",\n".join(map(record_line, report.records))
    text = json.dumps(head, indent=1, allow_nan=False)
    with replacing(path) as beside:
        beside.write_text(f'{text[:-2]},\n "records": [\n{lines}\n]}}\n', encoding="utf-8")


def read_report(path: str | pathlib.Path) -> Report:
    """Reads what write_report wrote."""
    try:
        document = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}, not {FORMAT}")
        missing = [name for name in STATED if name not in document["protocol"]]
        if missing:
            raise ValueError(f"its protocol has no {', no '.join(missing)}")
        records = tuple(map(record_of, document["records"]))
        if not records:
            raise ValueError("it has no records")
        resize_of(document["protocol"])
        return Report(matcher=document["matcher"], protocol=document["protocol"], records=records)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path} is not a report of `astr eval ... --out`: {error}. Run the evaluation again."
        ) from error
