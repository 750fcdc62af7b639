"""Runs a matcher over a benchmark, pair by pair; killed half-way, the same call goes on.

Each pair's record is appended to a file of JSON lines as soon as it is known. Its first line
states the protocol and the pairs; a run under another protocol is refused.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import resource
import sys
import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import poselib

from astr_jax.evaluation.benchmarks.benchmark import Benchmark
from astr_jax.evaluation.benchmarks.pairs import Pair
from astr_jax.evaluation.benchmarks.resizing import load_pair
from astr_jax.evaluation.benchmarks.truths import MATRICES
from astr_jax.evaluation.reports.records import PairRecord, record_line, record_of
from astr_jax.evaluation.scores.found import MatchFunction, checked_matches
from astr_jax.evaluation.scores.kinds import KINDS, kind_of
from astr_jax.evaluation.scores.poses import POSE
from astr_jax.evaluation.scores.scoring import score_pair


def protocol(
    benchmark: Benchmark, *, seeds: Sequence[int] = (0,), settings: dict | None = None, device=None
) -> dict:
    """What a reader must know to compare the figures with others, fit for JSON.

    settings: of the matcher. device: the JAX device that it runs on, None if on none.
    """
    resize = dataclasses.asdict(benchmark.resize)
    kinds = list(dict.fromkeys(map(kind_of, benchmark.pairs)))
    thresholds_in = "files" if benchmark.poses_in_file_pixels else "resized images"
    return {
        **(settings or {}),
        "benchmark": benchmark.name,
        "resize": {k: v if not isinstance(v, tuple) else list(v) for k, v in resize.items() if v},
        "interpolation": "area averaging; linear where enlarged",
        "pairs": len(benchmark.pairs),
        "whole": benchmark.whole or len(benchmark.pairs),
        "truth_sha256": _checksum(benchmark.pairs),
        "reader_options": benchmark.reader_options,
        "max_matches": benchmark.max_matches,
        **{
            kind.estimators_key: {
                name: kind.stated_limits(name) for name in kind.estimators_of(benchmark)
            }
            for kind in kinds
        },
        **({"pose_thresholds_in": thresholds_in} if POSE in kinds else {}),
        "seeds": list(seeds),
        "device": name_of(device),
        "opencv": cv2.__version__,
        "poselib": poselib.__version__,
        **{name: importlib.metadata.version(name) for name in ("numpy", "jax", "astr_jax")},
    }


def name_of(device) -> str:
    """The kind of a JAX device; of a CPU, whether JAX uses it or not, the machine's."""
    if device is None or device.device_kind == "cpu":
        return f"cpu, {platform.machine()}"
    return device.device_kind


def evaluate(
    benchmark: Benchmark,
    match: MatchFunction,
    *,
    seeds: Sequence[int] = (0,),
    partial: str | pathlib.Path | None = None,
    settings: dict | None = None,
    device=None,
    on_record: Callable[[PairRecord], None] | None = None,
) -> list[PairRecord]:
    """The record of every pair, in order; quiet.

    A pair that raises an error is a failure with errors of inf, not left out. seeds: of the
    estimators. partial: the file of JSON lines to go on from and to append to. It stays until the
    caller has put the report in its place. settings, device: as in protocol. on_record hears of
    each pair as it is done, those of the file too.
    """
    check_estimators(benchmark, seeds)
    stated = protocol(benchmark, seeds=seeds, settings=settings, device=device)
    records = [] if partial is None else _begun(pathlib.Path(partial), stated, benchmark.pairs)
    for record in records:
        if on_record is not None:
            on_record(record)
    called = False
    for pair in benchmark.pairs[len(records) :]:
        record = _evaluate_pair(match, pair, benchmark, seeds)
        # Later calls compile too where sizes differ, but the first one always does.
        record = dataclasses.replace(record, first_call=not called, **_memory(device))
        called = called or record.failure is None
        records.append(record)
        if partial is not None:
            with open(partial, "a", encoding="utf-8") as file:
                file.write(record_line(record) + "\n")
        if on_record is not None:
            on_record(record)
    return records


def check_estimators(benchmark: Benchmark, seeds: Sequence[int]) -> None:
    """Raises ValueError for names that are none, before hours of matching."""
    for kind in KINDS:
        for name in kind.estimators_of(benchmark):
            kind.find_estimator(name)
    if not seeds or min(seeds) < 0 or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds must be different numbers of at least 0; got {list(seeds)}.")


def _evaluate_pair(
    match: MatchFunction, pair: Pair, benchmark: Benchmark, seeds: Sequence[int]
) -> PairRecord:
    """Matches one pair and scores it. Whatever raises becomes a failure with error inf."""
    kind = kind_of(pair)
    names = kind.estimators_of(benchmark)
    record = PairRecord(
        set=pair.set,
        name=pair.name,
        kind=kind,
        checked=pair.checked,
        group=pair.group,
        cluster=pair.cluster,
        overlap=pair.overlap,
        errors={name: (float("inf"),) * len(seeds) for name in names},
        precision=dict.fromkeys(kind.share_names, 0.0),
        num_matches=0,
        seconds=0.0,
    )
    start = time.perf_counter()
    try:
        given = load_pair(pair, benchmark.resize)
        known = kind.difficulty(given)
        if pair.overlap is not None:
            known["overlap"] = pair.overlap
        record = dataclasses.replace(record, **known)
        start = time.perf_counter()
        returned = match(given.image0, given.image1, **given.truth.cameras)
        seconds = time.perf_counter() - start
        found = checked_matches(returned).most_confident(benchmark.max_matches)
        frame = {"poses_in_file_pixels": benchmark.poses_in_file_pixels}
        scores = score_pair(found, given, names, seeds, **frame)
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
        return dataclasses.replace(record, failure=failure, seconds=time.perf_counter() - start)
    return dataclasses.replace(record, num_matches=len(found), seconds=seconds, **scores)


def _memory(device) -> dict[str, float | None]:
    """Peaks so far in MiB: of this process, and of the device where JAX tells."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    stats = None if device is None else device.memory_stats()
    on_device = (stats or {}).get("peak_bytes_in_use")
    return {
        "memory_mib": round(peak / 2**20, 1),
        "device_memory_mib": None if on_device is None else round(on_device / 2**20, 1),
    }


def _begun(file: pathlib.Path, stated: dict, pairs: Sequence[Pair]) -> list[PairRecord]:
    """The records that the file holds; it is made, with its header, where there is none.

    A last line cut short by a kill is cut off the file.
    """
    lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
    if not lines:
        file.write_text(json.dumps({"protocol": stated}) + "\n", encoding="utf-8")
        return []
    try:
        found = json.loads(lines[0])["protocol"]
        records = [record_of(json.loads(line)) for line in lines[1:]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{file} is not the beginning of a report ({error}). Remove it to match all anew."
        ) from error
    other = sorted(k for k in {*found, *stated} if found.get(k) != stated.get(k))
    if other:
        raise ValueError(
            f"{file} was begun under another protocol: {', '.join(other)} differ. Give the same "
            "options again, or another --out, or remove the file to match all anew."
        )
    if len(records) > len(pairs):
        raise ValueError(f"{file} has {len(records)} pairs of {len(pairs)}. Remove it.")
    for record, pair in zip(records, pairs, strict=False):
        if (record.set, record.name) != (pair.set, pair.name):
            raise ValueError(f"{file} has {record.set} {record.name} out of order. Remove it.")
    os.truncate(file, sum(len(line) + 1 for line in lines))
    return records


def _checksum(pairs: Sequence[Pair]) -> str:
    """Of names, truth and sizes of the files, so that no run goes on with other data."""
    digest = hashlib.sha256()
    for pair in pairs:
        sizes = (_size_of(path) for path in (pair.image0, pair.image1))
        words = pair.set, pair.name, *sizes, pair.checked, pair.group, pair.cluster, pair.overlap
        matrices = dict.fromkeys(MATRICES) | pair.truth.matrices  # None where it has none
        for value in (*words, *matrices.values()):
            digest.update(
                value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
            )
    return digest.hexdigest()


def _size_of(path: pathlib.Path) -> int | None:
    """Bytes of a file; None where there is none."""
    return path.stat().st_size if path.is_file() else None
