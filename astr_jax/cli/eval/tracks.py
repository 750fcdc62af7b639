"""Ask matchers for measured points of real scenes: how many are found, and how far they are off.

examples:
  astr eval tracks SCENES --scenes garden,stam --weights tiny --matcher sift
  astr eval tracks SCENES --weights mine.safetensors --pairs 40 --out mine.json
  astr eval tracks SCENES --weights mine.safetensors --against tiny.json     pair by pair
  astr eval tracks --from mine.json --against tiny.json                      the same of two files

SCENES is a folder of scenes, or a file of astr data pack-scenes, as for astr train --tracks: of
scenes that no training saw. Their points of three views or more are asked for by keypoints0=, with
whatever confidence they are found, at a long side of 640. Ordinary matches are held against the
epipolar lines; of SIFT these alone. In brackets 95 % intervals over pairs.
"""

import argparse
import dataclasses
import json
import pathlib

from rich.console import Console

from astr_jax.cli.eval.matcher import add_matchers, find_matchers
from astr_jax.cli.files import check_marks, check_output, write_between
from astr_jax.cli.progress import progress_bar
from astr_jax.data.photos import LONG_SIDE
from astr_jax.data.scenes import Scene, list_scenes, read_scene, unpack_scenes
from astr_jax.evaluation.studies.track_tables import differences_table, tracks_table
from astr_jax.evaluation.studies.tracks import (
    TrackRecord,
    draw_pairs,
    read_tracks_report,
    records_of,
)
from astr_jax.files import replacing

MARK = "tracks"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of astr eval tracks."""
    add = parser.add_argument
    add("folder", nargs="?", metavar="SCENES", help="a folder of scenes, or a packed file")
    add("--from", dest="known", metavar="FILE.json", help="match nothing: the pairs of this --out")
    add("--scenes", type=lambda text: text.split(","), metavar="A,B", help="only these scenes")
    add_matchers(parser)
    add("--pairs", type=int, default=40, metavar="N", help="of each scene, at most; default 40")
    add("--seed", type=int, default=0, help="of the draw of pairs and points")
    add("--out", metavar="FILE.json", help="write the scores of every pair to this file")
    add("--into", metavar="FILE.md", help=f"write the table there, between <!-- {MARK} --> marks")
    add("--against", metavar="FILE.json", help="differences from the first matcher of this --out")


def run(arguments: argparse.Namespace) -> None:
    """Matches pairs of scenes by every matcher; prints and writes the scores."""
    console, out = Console(), check_output(arguments.out, ("json",))
    if arguments.into:
        check_marks(pathlib.Path(arguments.into), MARK)
    if arguments.pairs < 1:
        raise ValueError(f"--pairs must be at least 1; got {arguments.pairs}.")
    if (arguments.known is None) == (arguments.folder is None):
        raise ValueError("give a folder of scenes, or --from FILE.json, and not both.")
    other = read_tracks_report(arguments.against)[1] if arguments.against else {}
    if arguments.known:
        settings, found = read_tracks_report(arguments.known)
    else:
        settings, found = score_scenes(arguments, console)
    tables = [tracks_table(found)]
    console.print(tables[0], markup=False, highlight=False, soft_wrap=True)
    for first, records in list(other.items())[:1]:
        for name, own in found.items():
            words = f"{name} - {first} of {pathlib.Path(arguments.against).name}"
            table = differences_table(records, own)
            console.print(f"\n{words}:\n\n{table}", markup=False, highlight=False, soft_wrap=True)
    if arguments.into:
        write_between(pathlib.Path(arguments.into), MARK, tables[0])
    if out:
        rows = {name: [dataclasses.asdict(x) for x in records] for name, records in found.items()}
        with replacing(out) as beside:
            beside.write_text(json.dumps({"settings": settings, "pairs": rows}, indent=1) + "\n")


def score_scenes(
    arguments: argparse.Namespace, console: Console
) -> tuple[dict, dict[str, list[TrackRecord]]]:
    """The settings, and the records of each matcher."""
    matchers = find_matchers(arguments.weights, arguments.matcher, LONG_SIDE)
    scenes = chosen_scenes(arguments.folder, arguments.scenes)
    drawn = [(scene, draw_pairs(scene, arguments.pairs, arguments.seed)) for scene in scenes]
    total = sum(len(pairs) for _, pairs in drawn)
    if not total:
        raise ValueError(f"no two photographs in {arguments.folder} share enough points.")
    found: dict[str, list[TrackRecord]] = {name: [] for name in matchers}
    with progress_bar(console) as bar:
        for name, matcher in matchers.items():
            task = bar.add_task(name, total=total)
            for scene, pairs in drawn:
                for record in records_of(matcher, scene, pairs, arguments.seed):
                    found[name].append(record)
                    bar.advance(task)
    settings = {name: matcher.settings for name, matcher in matchers.items()}
    return {"pairs": arguments.pairs, "seed": arguments.seed, "matchers": settings}, found


def chosen_scenes(path: str, names: list[str] | None) -> list[Scene]:
    """The scenes of these names, of a folder or a packed file; None: all. Raises ValueError for a
    name that is not there."""
    packed = pathlib.Path(path).suffix == ".npz"
    there = unpack_scenes(path) if packed else list_scenes(path)
    if unknown := {*(names or ())} - {scene.name for scene in there}:
        raise ValueError(f"--scenes names no scene of {path}: {', '.join(sorted(unknown))}.")
    chosen = [scene for scene in there if names is None or scene.name in names]
    return chosen if packed else [read_scene(folder) for folder in chosen]
