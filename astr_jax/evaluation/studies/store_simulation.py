"""Bulk matching without a network: invented matches through the real code and the real files.

The world is that of invented_world.py. Two shards of the list of pairs are matched by
processes of their own, each into its own folder; they are killed where they would rename a file,
which is left half written, and started again. Then the folders are gathered, every pair is compared
with what was invented, and tracks and database are made.
"""

import dataclasses
import json
import multiprocessing
import os
import pathlib
import signal
import sqlite3
import time
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from astr_jax.evaluation.studies.invented_world import (
    SIZE,
    InventingMatcher,
    World,
    grow_invented,
)
from astr_jax.instruments.peak_memory import process_peak
from astr_jax.reconstruction import bulk
from astr_jax.reconstruction.photos import find_photos
from astr_jax.reconstruction.pipeline import Workspace, track_stage
from astr_jax.reconstruction.stars import StarOptions
from astr_jax.reconstruction.store import MatchStore
from astr_jax.reconstruction.tracks import read_tracks

SPENT = "spent.json"
SETTINGS = {"resize": 640, "invented": 1}


@dataclasses.dataclass(frozen=True)
class Death:
    """Where a process is killed: at the count-th file of such a name, of which half is written."""

    name: str
    count: int

    def prepare(self) -> None:
        """Makes it so."""
        rename, left = os.replace, [self.count]

        def dying(beside, path):
            left[0] -= pathlib.Path(path).name.startswith(self.name)
            if left[0] == 0:
                os.truncate(beside, os.path.getsize(beside) // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            rename(beside, path)

        os.replace = dying


def match_shard(
    world: World, folder: pathlib.Path, shard: bulk.Shard, part_pairs: int, death: Death | None
) -> None:
    """The work of a process: what its shard lacks."""
    if death:
        death.prepare()
    begun, matcher = time.process_time(), InventingMatcher(world)
    ordered = shard.of(bulk.in_blocks(world.pairs, block=12))
    paths = {name: pathlib.Path(name) for name in world.names}
    store = MatchStore(folder, SETTINGS)
    count = bulk.match_pairs(matcher, ordered, paths, store, part_pairs=part_pairs)
    _tell(folder, seconds=time.process_time() - begun - matcher.seconds, pairs=count)


def make_database(world: World, folder: pathlib.Path, verified: bool, death: Death | None) -> None:
    """The work of the last process: gathers, makes tracks and the database."""
    from astr_jax.reconstruction import database
    from astr_jax.reconstruction.mapping import quiet

    if death:
        death.prepare()
    photos, place = find_photos(folder / "photos"), Workspace(folder)
    clock = _Clock(folder)
    store = MatchStore(place.matches, SETTINGS)
    for shard in (1, 2):
        store.gather(folder / f"shard{shard}")
    clock.lap("gather")
    tracks, _ = track_stage(photos, world.pairs, store, place, StarOptions(), grow=grow_invented)
    clock.lap("tracks")
    with quiet():
        database.write_database(
            place.database, folder / "photos", photos, tracks, camera="single", verified=False
        )
        clock.lap("database")
        if verified:
            database.verify_database(place.database)
            clock.lap("verification")


class _Clock:
    """Tells the seconds of CPU of each stage as it ends: the process may not live to the next."""

    def __init__(self, folder: pathlib.Path):
        self.folder, self.laps, self._since = folder, {}, time.process_time()

    def lap(self, name: str) -> None:
        """Ends a stage."""
        now = time.process_time()
        self.laps[name], self._since = now - self._since, now
        _tell(self.folder, laps=self.laps)


def _tell(folder: pathlib.Path, **words) -> None:
    (folder / SPENT).write_text(json.dumps(words | {"peak": process_peak()}), encoding="utf-8")


@dataclasses.dataclass(frozen=True)
class Simulated:
    """What came of it."""

    pairs: int
    matches: int
    kills: int
    lost: int  # pairs that are missing, or not as they were invented
    tracks: int
    track_length: float
    database: str  # what SQLite says of it
    database_matches: int  # rows of all pairs
    expected_matches: int  # of the tracks
    peak: float  # of the largest process, MiB
    seconds: dict[str, float]  # of CPU, of a pair: match, gather, tracks, database, verification


def simulate(
    world: World,
    folder: str | os.PathLike,
    *,
    part_pairs: int = bulk.PART_PAIRS,
    deaths: Sequence[int] = (3, 30, 10),
    verified: bool = False,
    on_step: Callable[[str], None] = lambda words: None,
) -> Simulated:
    """All of it, in a folder that is empty or not there.

    deaths: at which part the process is killed: twice that of shard 1, once that of shard 2. The
    last process is killed at the database. verified: COLMAP verifies the pairs too. on_step hears
    of each step. Raises ChildProcessError where a process ends otherwise than it should.
    """
    folder, steps = pathlib.Path(folder), []
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} must be empty; it is not.")
    (folder / "photos").mkdir(parents=True)
    for name in world.names:
        Image.new("L", SIZE, 90).save(folder / "photos" / name)
    for shard, mine in ((1, deaths[:2]), (2, deaths[2:])):
        for death in [*(Death("part-", count) for count in mine), None]:
            on_step(f"shard {shard} of 2" + (f", killed at part {death.count}" if death else ""))
            place = folder / f"shard{shard}"
            _run(match_shard, world, place, bulk.Shard(shard, 2), part_pairs, death)
        steps.append(json.loads((place / SPENT).read_text(encoding="utf-8")))
    for death in (Death("database.db", 1), None):
        on_step("tracks and database" + (", killed at the database" if death else ""))
        _run(make_database, world, folder, verified, death)
        steps.append(json.loads((folder / SPENT).read_text(encoding="utf-8")))
    on_step("comparing")
    return _summary(world, folder, steps, len(deaths) + 1)


def _run(work: Callable, *given) -> None:
    """Does the work in a process of its own, which must die if it was told to."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=given)
    process.start()
    process.join()
    expected = 0 if given[-1] is None else -signal.SIGKILL
    if process.exitcode != expected:
        raise ChildProcessError(
            f"{work.__name__} should have ended with {expected}, and did with {process.exitcode}."
        )


def _summary(world: World, folder: pathlib.Path, steps: Sequence[dict], kills: int) -> Simulated:
    place = Workspace(folder)
    store, pairs, lost, matches = MatchStore(place.matches), world.pairs, 0, 0
    for pair in pairs:
        if pair not in store:
            lost += 1
            continue
        found, invented = store.read(pair), world.matches(pair)
        matches += len(found.confidence)
        lost += not all(map(np.array_equal, found, invented))
    with sqlite3.connect(place.database) as database:
        said = database.execute("PRAGMA integrity_check").fetchone()[0]
        rows = database.execute("SELECT SUM(rows) FROM matches").fetchone()[0]
    tracks = read_tracks(place.tracks)[0]
    length = np.bincount(tracks.track)
    *shards, killed, last = steps
    seconds = {"match": sum(x["seconds"] for x in shards) / sum(x["pairs"] for x in shards)}
    laps = {name: max(lap, killed["laps"].get(name, 0)) for name, lap in last["laps"].items()}
    return Simulated(
        pairs=len(pairs),
        matches=matches,
        kills=kills,
        lost=lost,
        tracks=tracks.count,
        track_length=tracks.mean_length,
        database=said,
        database_matches=rows,
        expected_matches=int((length * (length - 1) // 2).sum()),
        peak=max(step["peak"] for step in steps),
        seconds=seconds | {name: lap / len(pairs) for name, lap in laps.items()},
    )
