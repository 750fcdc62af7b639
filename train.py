"""Trains ASTR: python train.py configs/tiny.py --photos DIR --workdir RUN

The same command again goes on from the newest checkpoint in RUN.
"""

import argparse
import dataclasses
import pathlib


def read_experiment(name: str):
    """The experiment() of a configuration, by name or of a file."""
    import configs

    module = configs.read(name)
    if not hasattr(module, "experiment"):
        raise ValueError(f"{name} has a model and no experiment(): it cannot be trained here.")
    return module.experiment()


def read_split(path: str):
    """Photographs to train on, and those held back, of a folder or of a packed .npz file."""
    import cv2

    from astr_jax.data.photos import list_photos, read_photos, split_photos, unpack_photos

    cv2.setNumThreads(1)  # the loader's threads are the parallelism
    if path.endswith(".npz"):
        photos = unpack_photos(path)
        train, validation = split_photos(range(len(photos)))
        return [photos[i] for i in train], [photos[i] for i in validation]
    return tuple(map(read_photos, split_photos(list_photos(path))))


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="a name in configs/, or a .py file, such as configs/tiny.py")
    parser.add_argument(
        "--photos",
        required=True,
        help="folder of photographs, or a file that `python -m astr_jax.data.photos` packed",
    )
    parser.add_argument("--workdir", required=True, type=pathlib.Path, help="the run's own folder")
    parser.add_argument("--init", help="weights to start from, instead of fresh ones")
    parser.add_argument("--minutes", type=float, help="after so long validate, save and stop")
    parser.add_argument("--note", help="text for the weights file: origin, terms; default: none")
    parser.add_argument("--threads", type=int, default=2, help="threads that make pairs")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a field, such as train.learning_rate=3e-4; repeatable",
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    try:
        run(arguments)
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        parser().error(str(error))


def run(arguments: argparse.Namespace) -> None:
    """Reads everything, then trains."""
    from astr_jax.config import override
    from astr_jax.params import load_params
    from astr_jax.training.loop import train

    experiment = read_experiment(arguments.config)
    for item in arguments.set:
        name, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"--set takes NAME=VALUE; got {item!r}.")
        experiment = override(experiment, name, value)
    if arguments.note is not None:
        experiment = dataclasses.replace(experiment, note=arguments.note)
    photos, validation = read_split(arguments.photos)
    initial = load_params(arguments.init, fold=False) if arguments.init else None
    train(
        experiment,
        photos,
        validation,
        arguments.workdir,
        initial=initial,
        minutes=arguments.minutes,
        num_threads=arguments.threads,
    )


if __name__ == "__main__":
    main()
