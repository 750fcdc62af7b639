"""What matchers make of the tracks of scenes, and how two of them differ, as Markdown."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from astr_jax.evaluation.studies.tracks import (
    MEASURES,
    MEDIAN,
    Measured,
    TrackRecord,
    difference,
    in_common,
    measured,
)

ALL = "all"
Records = Sequence[TrackRecord]
HEADS = [name if name in (MEDIAN, "matches") else f"{name}, %" for name in MEASURES]


def tracks_table(found: Mapping[str, Records]) -> str:
    """A row for each scene and matcher, then those of all pairs; in brackets 95 % intervals."""
    rows = [
        [scene, name, str(len(of_scene)), *_cells(of_scene, lambda m, r=of_scene: measured(r, m))]
        for scene in [*_scenes(found.values()), ALL]
        for name, records in found.items()
        for of_scene in [_of(scene, records)]
        if of_scene
    ]
    return _markdown(["scene", "matcher", "pairs", *HEADS], rows)


def differences_table(first: Records, second: Records) -> str:
    """second - first of the pairs that both have, by scene and of all: points of percent, or
    pixels; * where the interval keeps off 0. Raises ValueError where they have none."""
    first, second = in_common(first, second)
    rows = []
    for scene in [*_scenes([second]), ALL]:
        a, b = _of(scene, first), _of(scene, second)
        both = [record for pair in zip(a, b, strict=True) for record in pair]
        cells = _cells(both, lambda m, a=a, b=b: difference(a, b, m), signed=True)
        rows.append([scene, str(len(b)), *cells])
    return _markdown(["difference", "pairs", *HEADS], rows)


def in_words(name: str, what: Measured, *, signed: bool = False) -> str:
    """A measure with its interval: shares in percent, differences of them in points."""
    digits, factor = (2, 1) if name == MEDIAN else (0, 1) if name == "matches" else (1, 100)
    form = f"{{:{'+' if signed else ''}.{digits}f}}"
    value, low, high = (form.format(factor * x) for x in (what.value, what.low, what.high))
    return f"{value} [{low}, {high}]"


def _scenes(found: Iterable[Records]) -> list[str]:
    return list(dict.fromkeys(record.scene for records in found for record in records))


def _of(scene: str, records: Records) -> Records:
    return [record for record in records if scene in (record.scene, ALL)]


def _cells(records: Records, of: Callable[[str], Measured], *, signed=False) -> list[str]:
    """A cell for each measure; "-" where some of the records lack it."""
    cells = []
    for name in MEASURES:
        if not all(name in record.scores for record in records):
            cells.append("-")
            continue
        what = of(name)
        mark = " *" if signed and what.told else ""
        cells.append(in_words(name, what, signed=signed) + mark)
    return cells


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruler = ["---"] * 2 + ["---:"] * (len(heads) - 2)
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ruler, *rows))
