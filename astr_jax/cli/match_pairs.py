"""Match the listed pairs of photographs, for a reconstruction.

examples:
  astr match-pairs photos --out model
  astr match-pairs photos --out model --shard 2/8       the second of eight parts, on one machine
  astr match-pairs photos --out model --engine processes --workers 4
  astr match-pairs photos --out model --engine ray --workers 8       GPUs or cores of a cluster
  astr match-pairs photos --out model --scales 1        quicker, for photographs of one distance

Matches the pairs of DIR/pairs.txt that DIR/matches lacks; each image is encoded once while it is
near. Stopped or killed, the same command goes on. Shards may run at the same time, on one disk or
on several: copy what DIR/matches holds together. With an engine, workers take one part of 64 pairs
after the other, and one that dies is replaced; all of them must see the photographs. The next stage
is astr tracks.
"""

from astr_jax.cli import photo_pairs, reconstruction
from astr_jax.cli.reconstruction import GOES_ON
from astr_jax.reconstruction.bulk import Shard
from astr_jax.reconstruction.photos import find_photos

__all__ = ["GOES_ON", "add_arguments", "run"]


def add_arguments(parser) -> None:
    """The options of astr match-pairs."""
    reconstruction.add_place(parser)
    reconstruction.add_matching(parser)
    reconstruction.add_dropping(parser)
    reconstruction.add_engine(parser)
    parser.add_argument(
        "--shard", default="1/1", metavar="I/N", help="part I of N equal parts of the list [1/1]"
    )


def run(options) -> None:
    """Matches what is missing."""
    shard = Shard.parse(options.shard)
    photos, place = find_photos(options.photos), reconstruction.workspace_of(options)
    pairs = photo_pairs.listed_pairs(photos, place)
    store = reconstruction.run_matching(options, photos, pairs, place, shard)
    counts = store.pairs
    there = [counts[pair] for pair in pairs if pair in counts]
    print(f"{place.matches}: {len(there)} of {len(pairs)} pairs, {sum(there)} matches")
