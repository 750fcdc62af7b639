"""Trains ASTR: python train.py configs/tiny.py --photos DIR --workdir RUN

The same command again goes on from the newest checkpoint in RUN.
"""

import argparse
import importlib.util
import pathlib


def load_experiment(path: str):
    """Runs a configuration file and returns its experiment()."""
    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(f"There is no configuration file {path}.")
    spec = importlib.util.spec_from_file_location("experiment_file", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "experiment"):
        raise ValueError(f"{path} has a model and no experiment(): it cannot be trained here.")
    return module.experiment()


def read_split(path: str):
    """Photographs to train on, and those held back, from a folder or a packed .npz file."""
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
    parser.add_argument("config", help="a file of configs/, such as configs/tiny.py")
    parser.add_argument("--photos", required=True, help="folder, or packed file, of photographs")
    parser.add_argument("--workdir", required=True, type=pathlib.Path, help="the run's own folder")
    parser.add_argument("--init", help="weights to start from, instead of fresh ones")
    parser.add_argument("--minutes", type=float, help="stop after so long, with everything saved")
    parser.add_argument("--threads", type=int, default=2, help="threads that make pairs")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a field, such as train.learning_rate=3e-4; repeatable",
    )
    return parser


def main() -> None:
    arguments = parser().parse_args()
    try:
        run(arguments)
    except (ValueError, OSError, ImportError) as error:
        parser().error(str(error))


def run(arguments: argparse.Namespace) -> None:
    """Reads everything, then trains."""
    from astr_jax.config import override
    from astr_jax.params import load_params
    from astr_jax.training.loop import train

    experiment = load_experiment(arguments.config)
    for item in arguments.set:
        name, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"--set takes NAME=VALUE; got {item!r}.")
        experiment = override(experiment, name, value)
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
