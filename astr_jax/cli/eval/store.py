"""Try the store of bulk matching on invented matches: killed, resumed, gathered, made a database.

examples:
  astr eval store --out build/bulk                                500 images, 20,000 pairs
  astr eval store --images 50 --partners 10 --out build/small     a small one
  astr eval store --images 50 --partners 10 --out build/small --verify    COLMAP verifies it too

Two shards are matched by processes that are killed three times in the middle of a file; the folders
are gathered, tracks and a COLMAP database are made, with one more kill. Every pair is
compared with what was invented. Nothing is learnt of the network, nor of the polishing of tracks,
which looks at the photographs. About 2 GB of disk.
"""

import dataclasses

from rich.console import Console
from rich.table import Table

from astr_jax.cli import reconstruction
from astr_jax.reconstruction.bulk import PART_PAIRS


def add_arguments(parser) -> None:
    """The options of astr eval store."""
    add = parser.add_argument
    add("--images", type=int, default=500, metavar="N", help="[500]")
    add("--partners", type=int, default=40, metavar="N", help="that each is matched with next [40]")
    add("--keypoints", type=int, default=1500, metavar="N", help="of an image, about [1500]")
    add("--verify", action="store_true", help="with COLMAP's verification, some 10 ms a pair more")
    add("--out", required=True, metavar="DIR", help="an empty folder, or none yet")


def run(options) -> None:
    """Simulates and prints what came of it; raises ValueError where anything was lost."""
    reconstruction.check_packages()
    from astr_jax.evaluation.studies.store_simulation import World, simulate

    world, console = World(options.images, options.partners, options.keypoints), Console()
    parts = len(world.pairs) // 2 // PART_PAIRS
    deaths = [max(1, parts // 5), max(1, parts // 3), max(1, parts // 2)]
    found = simulate(
        world, options.out, deaths=deaths, verified=options.verify, on_step=console.print
    )
    table = Table(show_header=False)
    for name, value in dataclasses.asdict(found).items():
        if name != "seconds":
            numbers = {int: "{:,}", float: "{:,.1f}", str: "{}"}
            table.add_row(name.replace("_", " "), numbers[type(value)].format(value))
    for name, value in found.seconds.items():
        table.add_row(f"{name}, ms of CPU a pair", f"{1000 * value:.2f}")
    console.print(table)
    if found.lost or found.database != "ok" or found.database_matches != found.expected_matches:
        raise ValueError("something was lost: see the table.")
