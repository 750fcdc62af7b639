"""Benchmarks by their names, and at which size they are matched."""

import dataclasses
from collections.abc import Sequence

from astr_jax.evaluation.benchmarks.benchmark import Benchmark
from astr_jax.evaluation.benchmarks.pairs import read_pairs
from astr_jax.evaluation.benchmarks.resizing import Resize
from astr_jax.images import stored_shape

PAIRS_RESIZE = Resize(long_side=640, multiple=32)
BENCHMARKS = {  # name -> (what the folders are, least and most of them)
    "pairs": ("DIR: an index.json beside its images, or folders of such", 1, None),
    "megadepth1500": ("ROOT INDEX: the data, and the folder of the five index files", 2, 2),
    "scannet1500": ("ROOT INDEX [INTRINSICS]: the data, test.npz, intrinsics.npz", 2, 3),
    "hpatches": ("ROOT: the folder of the sequences v_* and i_*", 1, 1),
    "colmap": ("SCENE: images/ and sparse/, a COLMAP model; one or more", 1, None),
}


def read_benchmark(name: str, folders: Sequence[str], **options) -> Benchmark:
    """A benchmark by its name; options are those of its reader that are not None. They stand in
    the protocol, so that the same pairs are found again."""
    options = {key: value for key, value in options.items() if value is not None}
    benchmark = _read(name, folders, options)
    return dataclasses.replace(benchmark, reader_options=options)


def _read(name: str, folders: Sequence[str], options: dict) -> Benchmark:
    what, least, most = BENCHMARKS.get(name, ("", 1, None))
    if not least <= len(folders) <= (most or len(folders)):
        raise ValueError(f"{name} takes {what}; got {' '.join(folders) or 'nothing'}.")
    if name == "pairs":
        pairs = read_pairs(folders, options.get("names"))
        return Benchmark(name=name, pairs=tuple(pairs), resize=PAIRS_RESIZE)
    if name == "colmap":
        from astr_jax.evaluation.benchmarks import colmap

        return colmap.read(folders, **options)
    from astr_jax.evaluation.benchmarks import hpatches, megadepth1500, scannet1500

    readers = {m.NAME: m.read for m in (hpatches, megadepth1500, scannet1500)}
    if name not in readers:
        raise ValueError(f"no benchmark {name!r}. There are: {', '.join(BENCHMARKS)}.")
    return readers[name](*folders, **options)


def resized(
    benchmark: Benchmark,
    *,
    long_side: int | None = None,
    short_side: int | None = None,
    multiple: int | None = None,
) -> Benchmark:
    """The benchmark with another size of its images, where one is asked for."""
    kept = benchmark.resize.multiple if multiple is None else multiple
    if long_side is not None or short_side is not None:
        resize = Resize(long_side=long_side, short_side=short_side, multiple=kept)
    else:
        resize = dataclasses.replace(benchmark.resize, multiple=kept)
    return dataclasses.replace(benchmark, resize=resize)


def longest_side(benchmark: Benchmark) -> int:
    """The longest side in pixels that a picture of the benchmark has when it is matched."""
    resize = benchmark.resize
    if resize.long_side is not None:
        return resize.long_side
    if resize.size is not None:
        return max(resize.size)
    longest = 0
    for path in {path for pair in benchmark.pairs for path in (pair.image0, pair.image1)}:
        longest = max(longest, *resize.new_size(*stored_shape(path)[::-1]))
    return longest
