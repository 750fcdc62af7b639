"""Many pairs matched: each image is encoded once while it is near, and what is found is kept.

Pairs are taken block by block, so that images recur soon. Every now and then what was found is
written as one part of the store; after a kill the same call goes on behind the last part. A shard
is a run of the ordered list: shards may run anywhere and at any time, into one folder. What spreads
them over machines stands above this: `match_pairs` is one worker's work.
"""

import dataclasses
import hashlib
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from astr_jax.matching import EncodedImage, EncodedImages, Matcher, MatchOptions
from astr_jax.reconstruction.pairs import Pair
from astr_jax.reconstruction.store import MatchStore, StoredMatches
from astr_jax.types import Matches

KEEP = 24  # images that stay encoded in memory
PART_PAIRS, PART_SECONDS = 64, 60.0  # a part is written after so many pairs or so much time


@dataclasses.dataclass(frozen=True)
class Shard:
    """Part `number` (from 1 on) of `count` equal parts of a list."""

    number: int = 1
    count: int = 1

    def __post_init__(self):
        if not 1 <= self.number <= self.count:
            raise ValueError(f"a shard is i/n with 1 <= i <= n; got {self.number}/{self.count}.")

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """From "2/8". Raises ValueError."""
        try:
            number, count = (int(part) for part in text.split("/"))
        except ValueError:
            raise ValueError(f"a shard is i/n, such as 2/8; got {text!r}.") from None
        return cls(number, count)

    def of(self, rows: Sequence) -> Sequence:
        """Its run of the rows."""
        ends = [len(rows) * n // self.count for n in (self.number - 1, self.number)]
        return rows[ends[0] : ends[1]]


def settings_of(
    options: MatchOptions, weights: str | os.PathLike, least_agreeing: float = 0.0
) -> dict:
    """All that matches depend on, fit for JSON; weights: the file."""
    weights = pathlib.Path(weights)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    settings = {**dataclasses.asdict(options), "weights": weights.stem, "weights_sha256": digest}
    return settings | ({"least_agreeing": least_agreeing} if least_agreeing else {})


def in_blocks(pairs: Iterable[Pair], *, block: int) -> list[Pair]:
    """The pairs in an order in which images recur soon: those between two blocks of `block` images
    stand together. Blocks follow the order of the names."""
    pairs = list(pairs)
    names = sorted({name for pair in pairs for name in pair})
    number = {name: n for n, name in enumerate(names)}

    def place(pair: Pair):
        low, high = sorted(number[name] for name in pair)
        return low // block, high // block, low, high

    return sorted(pairs, key=place)


def match_pair(
    matcher: Matcher, image0: EncodedImage, image1: EncodedImage, *, least_agreeing: float = 0.0
) -> StoredMatches:
    """The matches of a pair; none where less than this share of the cells keeps together in the
    first look, which costs a fraction of a match."""
    if not least_agreeing:
        return StoredMatches.of(matcher.match(image0, image1))
    glance = matcher.glance(image0, image1)
    if glance.agreeing < least_agreeing:
        return StoredMatches.of(Matches.none())
    return StoredMatches.of(matcher.match(image0, image1, glance=glance))


def match_pairs(
    matcher: Matcher,
    pairs: Sequence[Pair],
    paths: Mapping[str, pathlib.Path],
    store: MatchStore,
    *,
    keep: int = KEEP,
    least_agreeing: float = 0.0,
    part_pairs: int = PART_PAIRS,
    on_pair: Callable[[Pair], None] = lambda pair: None,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Matches the pairs that the store lacks, in the order given; returns how many.

    keep: images that stay in memory. least_agreeing: as of match_pair. part_pairs: of a part.
    on_pair hears of each new pair as it is done.
    """
    images = EncodedImages(matcher.encode, keep)
    missing = [pair for pair in pairs if pair not in store]
    found, since = [], clock()
    try:
        for pair in missing:
            image0, image1 = (images.get(paths[name], name) for name in pair)
            rows = match_pair(matcher, image0, image1, least_agreeing=least_agreeing)
            found.append((pair, rows))
            on_pair(pair)
            if len(found) >= part_pairs or clock() - since >= PART_SECONDS:
                store.write(found)
                found, since = [], clock()
    finally:  # an error or Ctrl-C loses nothing
        store.write(found)
    return len(missing)
