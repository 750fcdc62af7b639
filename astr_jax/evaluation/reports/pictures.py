"""The best and the worst pairs of a report, matched again and drawn."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from astr_jax.evaluation.benchmarks.benchmark import Benchmark
from astr_jax.evaluation.benchmarks.pairs import Pair
from astr_jax.evaluation.benchmarks.resizing import Resize, load_pair
from astr_jax.evaluation.matchers.named import find_matcher
from astr_jax.evaluation.reports.records import PairRecord
from astr_jax.evaluation.reports.report import Report, resize_of
from astr_jax.evaluation.scores.found import FoundMatches, MatchFunction, checked_matches
from astr_jax.evaluation.scores.kinds import KINDS
from astr_jax.params import SHIPPED
from astr_jax.types import Matches
from astr_jax.viz import draw_matches


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A pair with its matches; without a figure where matching it raised an error again."""

    words: str
    figure: Figure | None


def matcher_of(
    report: Report,
    *,
    name: str | None = None,
    weights: str | None = None,
) -> MatchFunction:
    """The matcher that a report states, looked for where name and weights say, if they do.

    Raises ValueError where it is not found, or is another one.
    """
    stated = report.protocol
    if name is None:
        name = "astr" if weights or "weights" in stated else stated.get("matcher")
    if name is None:
        raise ValueError(f"the report of {report.matcher} states no matcher: give --matcher.")
    astr = name == "astr"
    if astr and weights is None and "weights" in stated:
        path = pathlib.PurePath(stated["weights"])
        weights = path.stem if path.stem in SHIPPED else path.name
    try:
        side = stated.get("match_resize") if astr else None
        asked = {option: stated.get(option, True) for option in ("upright", "polish")}
        found = find_matcher(name, weights, side, **(asked if astr else {}))
    except FileNotFoundError as error:
        if "weights" not in stated:
            raise
        raise ValueError(
            f"{error} The report of {report.matcher} was made with {_weights(stated)}: give that "
            "file by --weights."
        ) from error
    _check_same(report, found.settings)
    return found.match


def _check_same(report: Report, found: dict) -> None:
    """Raises ValueError where what a report states of its matcher is not so of the one found."""
    stated = report.protocol
    keys = {"matcher", "weights", "weights_sha256", *found} & stated.keys()
    if "weights_sha256" in keys & found.keys():  # a file may be called otherwise now
        keys.discard("weights")
    differ = sorted(key for key in keys if stated[key] != found.get(key))
    if not differ:
        return
    start = f"the report of {report.matcher} was made with "
    if "weights_sha256" in differ and "weights" in found:
        raise ValueError(
            f"{start}{_weights(stated)}; these are {_weights(found)}. Give that file by --weights."
        )
    raise ValueError(
        start
        + ", ".join(f"{key} {stated[key]}, here it is {found.get(key, 'none')}" for key in differ)
        + ". Give --matcher and --weights as they were."
    )


def _weights(settings: dict) -> str:
    """Weights as words: the file and its checksum."""
    checksum = settings.get("weights_sha256", "not stated")
    return f"the weights {settings['weights']}, sha256 {checksum}"


def draw_pairs(
    report: Report, benchmark: Benchmark, match: MatchFunction, *, count: int = 4
) -> list[Picture]:
    """`count` of the worst and of the best pairs of each kind, by the first estimator.

    The pairs are matched again, at the size of the report. Colours are PairKind.drawn_errors.
    """
    pairs = {(pair.set, pair.name): pair for pair in benchmark.pairs}
    missing = [r for r in report.records if (r.set, r.name) not in pairs]
    if missing:
        raise ValueError(
            f"{len(missing)} pairs of the report are not in the folders given, the first: "
            f"{missing[0].set} {missing[0].name}. Give the data that it was made from."
        )
    resize = resize_of(report.protocol)
    limit = report.protocol["max_matches"]
    pictures = []
    for kind in KINDS:
        records = [record for record in report.records if record.kind == kind]
        for words, chosen in zip(("worst", "best"), _extremes(records, count), strict=True):
            for record in chosen:
                pair = pairs[record.set, record.name]
                pictures.append(_draw(f"{words}: ", record, pair, match, resize, limit))
    return pictures


def _extremes(records: Sequence[PairRecord], count: int):
    """The worst and the best, each pair once; of equal errors those with more matches."""
    if not records:
        return [], []
    name = next(iter(records[0].errors))
    error = {id(r): float(np.median(r.errors[name])) for r in records}
    worst = sorted(records, key=lambda r: (-error[id(r)], -r.num_matches))[:count]
    taken = {id(record) for record in worst}
    rest = [record for record in records if id(record) not in taken]
    return worst, sorted(rest, key=lambda r: (error[id(r)], -r.num_matches))[:count]


def _draw(
    words: str,
    record: PairRecord,
    pair: Pair,
    match: MatchFunction,
    resize: Resize,
    limit: int | None,
) -> Picture:
    name, errors = next(iter(record.errors.items()))
    kind = record.kind
    words += f"{record.set} {record.name}, {name} error {np.median(errors):.2f} {kind.unit}"
    try:
        given = load_pair(pair, resize)
        returned = match(given.image0, given.image1, **given.truth.cameras)
        found = checked_matches(returned).most_confident(limit).sorted()
    except Exception as error:
        return Picture(words=f"{words}: {type(error).__name__}: {error}", figure=None)
    off, meaning = kind.drawn_errors(found, given)
    figure = draw_matches(given.image0, given.image1, as_matches(found), error=off)
    words += f", {len(off)} matches"
    if len(off) != record.num_matches:
        words += f" (in the report {record.num_matches})"
    return Picture(words=f"{words}; colours: {meaning}", figure=figure)


def as_matches(found: FoundMatches) -> Matches:
    """The found matches as the type that is drawn."""
    k = len(found.confidence)
    return Matches(
        keypoints0=found.points0,
        keypoints1=found.points1,
        confidence=found.confidence,
        covariance=np.zeros((k, 2, 2)),
        scale=np.ones(k),
        cell0=np.full(k, -1),
        cell1=np.full(k, -1),
        valid=np.ones(k, bool),
    )
