"""Adapt weights to a place: train them on from your photographs of it, which need no labels.

examples:
  astr adapt PHOTOS --out mine.safetensors                       reconstructs them, then trains
  astr adapt PHOTOS --model MODEL --out mine.safetensors         you have a COLMAP model of them
  astr adapt PHOTOS --out mine.safetensors --pairs 600 --minutes 20
  astr match a.jpg b.jpg --weights mine.safetensors --out matches.png

Photographs of one place that overlap, 20 or more. A COLMAP model of them tells which points show
the same: yours, or one that astr reconstruct makes first (its options: run it yourself, and give
--model DIR/sparse/0). The weights that ship are trained on, half by pairs of the photographs, half
by homographies of them.

Every fourth photograph is held out: it is in no pair that is trained on. Half of those choose among
checkpoints, the other half judges the one chosen, by the points of the model that are found within
3 px. Only where that is more than before, by the whole 95 % interval, the new weights are written;
else the old ones are, and it says so.

Stopped or killed, the same command goes on. Ctrl-C stops with all saved. Needs the extras data and
sfm. One CPU core takes some two seconds a pair.
"""

import argparse
import dataclasses
import hashlib
import json
import pathlib
import time

from rich.console import Console

from astr_jax.cli import parser as parser_of
from astr_jax.cli import reconstruct
from astr_jax.cli.files import check_output
from astr_jax.cli.reconstruction import check_packages, progress
from astr_jax.files import check_settings, replacing
from astr_jax.params import find_weights, load_params, read_header, save_params

GOES_ON = "; the same command goes on"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of astr adapt."""
    add = parser.add_argument
    add("photos", metavar="PHOTOS", help="a folder; what lies below it counts too")
    add("--out", required=True, metavar="FILE", help="the weights: a .safetensors file")
    add("--model", metavar="MODEL", help="a COLMAP model of the photographs [it is made]")
    add("--weights", help="to start from: a shipped name or a file [the best that ship]")
    add("--workdir", type=pathlib.Path, metavar="DIR", help="what is kept [--out without its end]")
    add("--pairs", type=int, default=1500, metavar="N", help="to train on [1500]")
    add("--rate", type=float, default=3e-4, metavar="R", help="peak of the learning rate [3e-4]")
    add("--every", type=int, default=4, metavar="N", help="every Nth photograph is held out [4]")
    add("--held-out", type=int, default=40, metavar="N", help="pairs that judge, at most [40]")
    add("--minutes", type=float, metavar="M", help="train no longer, and take what is best then")
    add("--seed", type=int, default=0, help="of all draws")
    add("--threads", type=int, default=1, metavar="N", help="that make pairs [1]")


def run(options: argparse.Namespace) -> None:
    """Labels, trains, judges and writes."""
    check_packages("pycolmap", "orbax", "optax")
    import cv2

    from astr_jax.adaptation import adapt
    from astr_jax.adaptation.held_out import parted

    cv2.setNumThreads(1)  # the threads that make pairs are the parallelism
    out = check_output(options.out, ("safetensors",))
    weights = find_weights(options.weights)
    params = load_params(weights, fold=False)
    work = options.workdir or out.with_suffix("")
    config = adapt.AdaptConfig(pairs=options.pairs, learning_rate=options.rate, seed=options.seed)
    keep_settings(options, weights, work)
    scene = labels_of(options, work)
    parts = parted(scene, every=options.every, most=options.held_out, seed=options.seed)
    console = Console()
    console.print(
        f"{len(scene.images)} photographs; trained on: {len(parts.train.images)}, in "
        f"{len(parts.train.pairs[0])} pairs. Held out: {len(parts.choosing)} pairs that choose, "
        f"{len(parts.judging)} that judge.",
        highlight=False,
    )
    note = f"{note_of(weights, options, len(parts.train.images))} {read_header(weights).note}"
    started, run_folder = time.monotonic(), work / "run"
    minutes, threads = options.minutes, options.threads
    done = adapt.train(
        params, parts, run_folder, config, note=note, minutes=minutes, num_threads=threads
    )
    if not done and (minutes is None or time.monotonic() - started < 60 * minutes):
        return  # it was stopped
    new = adapt.chosen(run_folder, params.calibration)
    with progress("judge", 2 * len(parts.judging)) as (bar, task):
        verdict = adapt.Verdict(
            *(
                adapt.score_pairs(some, parts, parts.judging, config, lambda: bar.advance(task))
                for some in (params, new)
            )
        )
    say(verdict, console)
    if verdict.better:
        save_params(out, new, note=note)
        console.print(f"wrote {out}", highlight=False)
        return
    with replacing(out) as beside:
        beside.write_bytes(weights.read_bytes())
    console.print(
        f"Not better on the photographs held out: {out} is {weights.name}, as it was.",
        highlight=False,
    )


def keep_settings(options: argparse.Namespace, weights: pathlib.Path, work: pathlib.Path) -> None:
    """Notes what the folder is begun with. Raises ValueError where it was something else."""
    names = ("photos", "model", "pairs", "rate", "every", "held_out", "seed")
    settings = {name: getattr(options, name) for name in names}
    settings["weights_sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    file = work / "settings.json"
    if file.is_file():
        check_settings(json.loads(file.read_text(encoding="utf-8")), settings, work)
        return
    work.mkdir(parents=True, exist_ok=True)
    with replacing(file) as beside:
        beside.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def labels_of(options: argparse.Namespace, work: pathlib.Path):
    """The photographs with cameras and tracks, made once and kept in one file."""
    from astr_jax.adaptation.labels import read_labels
    from astr_jax.data.scenes import pack_scenes, unpack_scenes

    file = work / "labels.npz"
    if not file.is_file():
        model = options.model
        if model is None:
            words = [options.photos, "--out", str(work / "model")]
            words += ["--weights", options.weights] if options.weights else []
            reconstruct.run(parser_of(reconstruct, "astr reconstruct").parse_args(words))
            model = work / "model" / "sparse" / "0"
        scene = dataclasses.replace(read_labels(model, options.photos), name="photographs")
        pack_scenes([scene], file, quality=95)
    return unpack_scenes(file)[0]


def note_of(weights: pathlib.Path, options: argparse.Namespace, count: int) -> str:
    """Where the adapted weights come from."""
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return (
        f"Adapted by astr adapt from {weights.name} (sha256 {digest}): {options.pairs} pairs of "
        f"{count} photographs, learning rate {options.rate:g}, seed {options.seed}."
    )


def say(verdict, console: Console) -> None:
    """What adapting brought, in a table and a sentence."""
    from astr_jax.adaptation.adapt import MEASURE
    from astr_jax.evaluation.studies.track_tables import differences_table, in_words, tracks_table
    from astr_jax.evaluation.studies.tracks import measured

    both = {"before": verdict.before, "after": verdict.after}
    for table in (tracks_table(both), differences_table(verdict.before, verdict.after)):
        console.print(f"\n{table}", markup=False, highlight=False, soft_wrap=True)
    before, after = (in_words(MEASURE, measured(side, MEASURE)) for side in both.values())
    gain = in_words(MEASURE, verdict.gain, signed=True)
    console.print(
        f"\nOf the points held out {before} % were found {MEASURE} before, {after} % after: "
        f"{gain} points (95 % intervals over {len(verdict.after)} pairs).",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
