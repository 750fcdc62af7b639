"""From a verified COLMAP database to models: incremental or global mapping by pycolmap."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator

import pycolmap

MAPPERS = ("incremental", "global")


def map_database(
    database: str | os.PathLike,
    images: str | os.PathLike,
    out: str | os.PathLike,
    *,
    mapper: str = "incremental",
    seed: int = 0,
    threads: int = -1,
    least_images: int = 3,
    on_image: Callable[[], None] = lambda: None,
) -> dict[int, "pycolmap.Reconstruction"]:
    """Makes OUT/0, OUT/1 ..., COLMAP models in binary, the largest first; returns them by number.

    OUT appears whole or not at all. threads: -1 for all; one thread and one seed give one result.
    least_images: smaller models are dropped. on_image hears of each image that is registered
    (incremental). Raises ValueError where no model came about.
    """
    if mapper not in MAPPERS:
        raise ValueError(f"mapper must be one of {', '.join(MAPPERS)}; got {mapper!r}.")
    out = pathlib.Path(out)
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        run = _incremental if mapper == "incremental" else _global
        models = run(database, images, beside, seed, threads, least_images, on_image)
        models = sorted(models.values(), key=lambda m: (-m.num_reg_images(), -m.num_points3D()))
        if not models:
            raise ValueError(
                "no model came about: no two photographs share enough of the scene from places "
                "far enough apart. The report of matches tells which pairs do."
            )
        shutil.rmtree(beside)
        for number, model in enumerate(models):
            (beside / str(number)).mkdir(parents=True)
            model.write_binary(str(beside / str(number)))
        shutil.rmtree(out, ignore_errors=True)
        beside.rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return dict(enumerate(models))


def _incremental(database, images, out, seed, threads, least_images, on_image):
    options = pycolmap.IncrementalPipelineOptions()
    options.random_seed = options.mapper.random_seed = options.triangulation.random_seed = seed
    options.num_threads, options.min_model_size = threads, least_images
    return pycolmap.incremental_mapping(
        database, images, out, options, next_image_callback=on_image
    )


def _global(database, images, out, seed, threads, least_images, on_image):
    options = pycolmap.GlobalPipelineOptions()
    options.random_seed, options.num_threads = seed, threads
    return pycolmap.global_mapping(database, images, out, options)


def read_models(folder: str | os.PathLike) -> dict[int, "pycolmap.Reconstruction"]:
    """The models of a folder that map_database wrote."""
    folders = [f for f in pathlib.Path(folder).iterdir() if f.name.isdigit()]
    return {int(f.name): pycolmap.Reconstruction(str(f)) for f in sorted(folders)}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what COLMAP logs below warnings off the screen."""
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = pycolmap.logging.Level.WARNING.value
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before
