"""Train a model on photographs, on pairs with depth, or on both.

examples:
  astr train tiny --photos DIR --workdir RUN
  astr train tiny --photos DIR --workdir RUN --set worlds_share=0.3
  astr train tiny --photos DIR --posed colmap MODEL --set posed_share=0.3 --workdir RUN
  astr train tiny --photos DIR --tracks SCENES --set tracks_share=0.5 --workdir RUN
  astr train astr_megadepth --posed megadepth ROOT --index DIR --workdir RUN
  astr train my_model.py --photos DIR --init tiny --partial --workdir RUN
  astr train tiny --photos DIR --profile 256 320    measure the speed, train nothing
  srun --ntasks-per-node=8 astr train small --photos DIR --workdir RUN --distributed

The same command again goes on from the newest checkpoint in RUN, on any number of devices. Ctrl-C
stops a run with everything saved. `tensorboard --logdir RUN` shows it, and so does astr curves.
"""

import argparse
import dataclasses
import os
import pathlib
import sys

from astr_jax import configurations
from astr_jax.cli.dataset import KIND_HELP, add_dataset_arguments, dataset_of
from astr_jax.config import override
from astr_jax.params import find_weights, load_params

GOES_ON = "; the same command goes on"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of astr train."""
    parser.add_argument("config", help="a name in configs/, or a .py file, such as configs/tiny.py")
    parser.add_argument("--workdir", type=pathlib.Path, help="the run's own folder")
    parser.add_argument("--init", help="weights to start from, a shipped name or a file")
    parser.add_argument(
        "--partial",
        action="store_true",
        help="of --init take the layers that fit the model by name and shape; others start fresh",
    )
    parser.add_argument("--minutes", type=float, help="after so long save and stop")
    parser.add_argument(
        "--by-clock",
        action="store_true",
        help="stages and the learning rate follow --minutes and not pairs: the run ends with them",
    )
    parser.add_argument("--note", help="text for the weights file: origin, terms; default: none")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a field, such as train.learning_rate=3e-4; repeatable",
    )
    parser.add_argument(
        "--profile",
        nargs=2,
        type=int,
        metavar=("H", "W"),
        help="do not train but measure: speed at this size, cost of the data, parts of the step",
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--photos",
        help="folder of photographs, or a file that astr data pack made",
    )
    data.add_argument(
        "--posed",
        nargs="+",
        default=[],
        metavar=("KIND", "DIR"),
        help=f"pairs with depth: {KIND_HELP}; every twentieth scene is held back for validation",
    )
    data.add_argument(
        "--tracks",
        metavar="DIR",
        help="real scenes with tracks: a folder of folders with a COLMAP model and images/ each, "
        "or a file that astr data pack-scenes, or astr data pack --scenes, made",
    )
    data.add_argument(
        "--threads", type=int, metavar="N", help="threads that make pairs; default: one per core"
    )
    add_dataset_arguments(data)
    many = parser.add_argument_group("several devices and processes")
    many.add_argument("--devices", type=int, metavar="N", help="take N of them; default: all")
    many.add_argument(
        "--distributed", action="store_true", help="one of several processes, by Slurm or MPI"
    )
    many.add_argument("--coordinator", metavar="HOST:PORT", help="the same, told by hand")
    many.add_argument("--processes", type=int, metavar="N")
    many.add_argument("--process", type=int, metavar="I", help="this one, from 0")


def run(options: argparse.Namespace) -> None:
    """Reads everything, then trains; of several processes, one that fails waits for no other."""
    try:
        _train(options)
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        import jax

        if not jax.distributed.is_initialized():
            raise
        print(f"astr train: {error}", file=sys.stderr, flush=True)
        os._exit(2)  # the other processes must not wait for this one to say goodbye


def read_experiment(name: str):
    """The experiment() of a configuration, by name or of a file."""
    module = configurations.read(name)
    if not hasattr(module, "experiment"):
        raise ValueError(f"{name} has a model and no experiment(): it cannot be trained here.")
    return module.experiment()


def several_processes(arguments: argparse.Namespace) -> bool:
    """Whether the command line makes this process one of several."""
    by_hand = arguments.coordinator, arguments.processes, arguments.process
    return arguments.distributed or any(value is not None for value in by_hand)


def _train(arguments: argparse.Namespace) -> None:
    from astr_jax.instruments.machine import usable_cores
    from astr_jax.training import devices
    from astr_jax.training.loop import train
    from astr_jax.training.profile import profile

    if several_processes(arguments):
        devices.join(arguments.coordinator, arguments.processes, arguments.process)
        devices.say_where()
    experiment = changed(read_experiment(arguments.config), arguments)
    mesh = devices.data_mesh(devices.first_devices(arguments.devices))
    if arguments.profile:
        profile(experiment, read_sources(arguments, experiment), arguments.profile, mesh)
        return
    if arguments.workdir is None:
        raise ValueError("A run needs its own folder: give --workdir.")
    initial = load_params(find_weights(arguments.init), fold=False) if arguments.init else None
    train(
        experiment,
        read_sources(arguments, experiment),
        arguments.workdir,
        initial=initial,
        partial=arguments.partial,
        minutes=arguments.minutes,
        by_clock=arguments.by_clock,
        num_threads=usable_cores() if arguments.threads is None else arguments.threads,
        mesh=mesh,
    )


def changed(experiment, arguments: argparse.Namespace):
    """The experiment with what the command line sets."""
    for item in arguments.set:
        name, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"--set takes NAME=VALUE; got {item!r}.")
        experiment = override(experiment, name, value)
    if arguments.note is not None:
        experiment = dataclasses.replace(experiment, note=arguments.note)
    return experiment


def read_sources(arguments: argparse.Namespace, experiment):
    """What the command line trains on. Raises ValueError where the shares ask for other data."""
    import cv2

    from astr_jax.data.photos import MOST_NAMED, open_photos
    from astr_jax.data.readers import BadFiles
    from astr_jax.data.scenes import open_scenes
    from astr_jax.training.batches import Sources

    for kind in ("posed", "tracks"):
        share, given = getattr(experiment, f"{kind}_share"), bool(getattr(arguments, kind))
        if given != (share > 0):
            raise ValueError(
                f"--{kind} and a {kind}_share above 0 belong together; the share is {share}. "
                f"Set it by --set {kind}_share={0.5 if given else 0}."
            )
    if arguments.photos is None and experiment.posed_share + experiment.tracks_share < 1:
        raise ValueError(
            "Homographies and synthetic worlds are made of photographs: give --photos."
        )
    cv2.setNumThreads(1)  # the loader's threads are the parallelism
    bad = BadFiles(skip=arguments.skip_bad)
    photos, held_back = open_photos(arguments.photos, bad) if arguments.photos else ((), ())
    scenes = open_scenes(arguments.tracks, bad) if arguments.tracks else ()
    if bad:
        print(bad.report(most=MOST_NAMED))
    posed = None
    if arguments.posed:
        posed = dataset_of(arguments.posed, arguments)
    return Sources(
        photos=photos,
        validation_photos=held_back,
        scenes=scenes,
        posed=posed,
        skip_bad=arguments.skip_bad,
    )
