"""Time bulk matching against pairs matched one by one, and against the export for hloc.

examples:
  astr eval bulk --photos DIR                          each of 6 photographs with each, at 640
  astr eval bulk --photos DIR --count 10 --repeat 5

The same list of pairs is matched in turns, A B C A B C: in bulk, as astr match-pairs does, which
encodes each image once; one by one, which encodes both images of each pair anew, as astr_jax.match
and the matcher for hloc's match_dense do; and by the export for hloc of astr eval aachen, which
keeps what it has encoded. The first round compiles and does not count. Seconds are medians, by the
clock and of CPU time of all threads.
"""

import pathlib
import tempfile

from rich.console import Console
from rich.table import Table

from astr_jax import api
from astr_jax.cli.match import add_weights
from astr_jax.instruments.timing import in_turns
from astr_jax.matching import RESIZE, Matcher, MatchOptions
from astr_jax.reconstruction.bulk import match_pairs
from astr_jax.reconstruction.pairs import exhaustive, write_pairs
from astr_jax.reconstruction.photos import Photo, find_photos
from astr_jax.reconstruction.store import MatchStore


def add_arguments(parser) -> None:
    """The options of astr eval bulk."""
    add = parser.add_argument
    add("--photos", required=True, metavar="DIR", help="photographs of one thing")
    add("--count", type=int, default=6, metavar="N", help="of them, spread evenly by name [6]")
    add("--repeat", type=int, default=3, metavar="N", help="rounds that count [3]")
    add("--resize", type=int, default=RESIZE, metavar="N", help="limit of the long side [640]")
    add_weights(parser)


def run(options) -> None:
    """Times and prints."""
    if options.count < 3 or options.repeat < 1:
        raise ValueError(
            f"--count must be at least 3, and --repeat at least 1; got {options.count} and "
            f"{options.repeat}."
        )
    photos = find_photos(options.photos)
    step = max(1, len(photos) // options.count)
    photos = photos[::step][: options.count]
    pairs = exhaustive([photo.name for photo in photos])
    with tempfile.TemporaryDirectory() as folder:
        tasks = tasks_of(options, photos, pairs, pathlib.Path(folder))
        with Console(stderr=True).status("matching in turns ..."):
            timings = in_turns(tasks, options.repeat)
    table = Table(title=f"{len(pairs)} pairs of {len(photos)} photographs at {options.resize}")
    table.add_column("way")
    for name in ("pairs per second", "seconds of CPU a pair", "times as long, clock", "CPU"):
        table.add_column(name, justify="right")
    bulk = timings["bulk"].median
    for name, timing in timings.items():
        wall, cpu = timing.median.wall, timing.median.cpu
        table.add_row(
            name,
            f"{len(pairs) / wall:.3f}",
            f"{cpu / len(pairs):.2f}",
            f"{wall / bulk.wall:.2f}",
            f"{cpu / bulk.cpu:.2f}",
        )
    Console(width=120).print(table)


def tasks_of(options, photos: tuple[Photo, ...], pairs, folder: pathlib.Path) -> dict:
    """The ways to match the list, each into a new folder at each call."""
    from astr_jax.evaluation.benchmarks.resizing import Resize
    from astr_jax.evaluation.localisation.export import PROTOCOLS, write_matches
    from astr_jax.evaluation.matchers.named import astr_matcher

    params = api.load(options.weights)
    matcher = Matcher(params, MatchOptions(resize=options.resize))
    paths = {photo.name: photo.path for photo in photos}
    listed = folder / "pairs.txt"
    write_pairs(listed, pairs)

    def place() -> str:
        return tempfile.mkdtemp(dir=folder)

    def one_by_one():
        for pair in pairs:
            api.match(params, *(paths[name] for name in pair), resize=options.resize).compact()

    def export():
        named = astr_matcher(options.weights, options.resize)
        write_matches(
            named.match,
            listed,
            options.photos,
            place(),
            Resize(long_side=options.resize, multiple=8),
            quantisation=PROTOCOLS["aachen"].quantisation,
            encode=named.encode,
        )

    return {
        "bulk": lambda: match_pairs(matcher, pairs, paths, MatchStore(place(), {})),
        "one by one": one_by_one,
        "export for hloc": export,
    }
