"""What one matcher made of one pair, and how it stands in a file: one line of JSON."""

import dataclasses
import json
import math

from astr_jax.evaluation.scores.calibration import Histogram
from astr_jax.evaluation.scores.kinds import kind_named
from astr_jax.evaluation.scores.pair_kind import PairKind

HISTOGRAMS = {"confidence_bins": ("matches", "right", "claimed"), "sigma_bins": ("sigma", "counts")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairRecord:
    """The result of one pair. Shares lie in [0, 1]."""

    set: str
    name: str  # unique in its set
    kind: PairKind  # its name in the file
    checked: bool
    errors: dict[str, tuple[float, ...]]  # estimator -> error by each seed; inf: nothing found
    precision: dict[str, float]  # name of a share -> right matches of all; 0 without matches
    num_matches: int  # that are scored
    seconds: float  # of the matcher alone
    first_call: bool = False  # of the process: with what the matcher compiles and loads
    memory_mib: float | None = None  # peak of the process so far
    device_memory_mib: float | None = None  # peak of the accelerator so far
    group: str = ""  # a part of the set: "viewpoint"
    cluster: str = ""  # what pairs hang together with it, such as a sequence; "": none
    overlap: float | None = None  # share of what one image shows that the other one shows
    scale_ratio: float | None = None  # how much larger things look in image 1; of homographies
    rotation: float | None = None  # degrees about the optical axis, in [-180, 180]
    confidence_bins: Histogram | None = None
    sigma_bins: Histogram | None = None
    failure: str | None = None  # the message, where the pair raised an error


def record_line(record: PairRecord) -> str:
    """One line of strict JSON, without its end; null stands for an infinite error."""
    entry = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
    entry["kind"] = record.kind.name
    entry["errors"] = {
        name: [error if math.isfinite(error) else None for error in errors]
        for name, errors in record.errors.items()
    }
    return json.dumps(entry, allow_nan=False)


def record_of(entry: dict) -> PairRecord:
    """The record of a line's JSON.

    Raises ValueError for one that lacks something, and KeyError, TypeError or AttributeError for
    what is no record at all.
    """
    missing = _missing(entry)
    if missing:
        raise ValueError(f"a record has no {', no '.join(missing)}")
    errors = {
        name: tuple(math.inf if error is None else float(error) for error in errors)
        for name, errors in entry["errors"].items()
    }
    return PairRecord(**entry | {"errors": errors, "kind": kind_named(entry["kind"])})


def _missing(entry: dict) -> list[str]:
    """The names of what record_line writes and a line lacks; a histogram may be null."""
    fields = [f.name for f in dataclasses.fields(PairRecord) if f.name not in entry]
    if fields:
        return fields
    parts = {name: HISTOGRAMS[name] for name in HISTOGRAMS if entry[name] is not None}
    parts["precision"] = kind_named(entry["kind"]).share_names
    return [
        f"{part} in {name}"
        for name, listed in parts.items()
        for part in listed
        if part not in entry[name]
    ]
