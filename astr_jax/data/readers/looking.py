"""Looks through a data set of posed pairs: how many there are, and which files are bad."""

from rich.progress import track

from astr_jax.data.readers.bad_files import BadFiles
from astr_jax.data.readers.pairs import PosedDataset


def look_through(dataset: PosedDataset, reads: int, bad: BadFiles) -> dict[str, int]:
    """The number of pairs of each scene; reads some of each, spread evenly, and notes bad files."""
    counts = {}
    for scene in track(dataset.scenes, "reading", transient=True):
        counts[scene] = 0
        with bad.skipped():
            counts[scene] = len(dataset.pairs(scene))
        count = counts[scene]
        for k in range(min(reads, count)):
            with bad.skipped():
                dataset.load(dataset.pairs(scene)[k * count // min(reads, count)], (64, 64))
    return counts
