"""What the commands of reconstruction share: options, and the stages with their progress."""

import argparse
import contextlib
import importlib.util
import pathlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import Progress

from astr_jax import api
from astr_jax.cli.match import add_weights, read_scales
from astr_jax.cli.progress import progress_bar
from astr_jax.matching import RESIZE, Matcher, MatchOptions
from astr_jax.matching.polishing import ALL
from astr_jax.matching.scales import AUTO
from astr_jax.params import find_weights
from astr_jax.reconstruction import pipeline
from astr_jax.reconstruction.bulk import KEEP, Shard
from astr_jax.reconstruction.engines import ENGINES, Engine
from astr_jax.reconstruction.stars import StarOptions
from astr_jax.reconstruction.store import MatchStore
from astr_jax.reconstruction.tracks import read_tracks

GOES_ON = "; the same command goes on"


def add_place(parser: argparse.ArgumentParser) -> None:
    """The photographs, and the folder of results."""
    parser.add_argument("photos", metavar="PHOTOS", help="a folder; what lies below it counts too")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the results go")


def add_matching(parser: argparse.ArgumentParser) -> None:
    """How pairs are matched."""
    add_weights(parser)
    add = parser.add_argument
    add("--resize", type=int, default=RESIZE, metavar="N", help="limit of the long side [640]")
    add("--threshold", type=float, metavar="T", help="least confidence [the weights']")
    add("--scales", nargs="+", default=["auto"], metavar="S", help="as of astr match [auto]")
    add(
        "--upright",
        action=argparse.BooleanOptionalAction,
        default=AUTO,
        help="all stand the same way up; --no-upright looks at quarter turns of every pair "
        "[only where hardly anything agrees otherwise]",
    )
    add("--keep", type=int, default=KEEP, metavar="N", help=f"images held encoded [{KEEP}]")


def add_dropping(parser: argparse.ArgumentParser) -> None:
    """Which pairs are not worth a match."""
    parser.add_argument(
        "--least-agreeing",
        type=float,
        default=0.0,
        metavar="T",
        help="pairs of which a smaller share agrees in the first look are not matched [0: none]",
    )


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Who matches."""
    add = parser.add_argument
    add(
        "--engine",
        choices=ENGINES,
        default="here",
        help="this process, several (--workers), or Ray: of RAY_ADDRESS, else this machine [here]",
    )
    add("--workers", type=int, default=2, metavar="N", help="processes, or Ray's actors [2]")
    add("--cores", type=int, default=1, metavar="N", help="of an actor that has no GPU [1]")


def add_tracks(parser: argparse.ArgumentParser) -> None:
    """How tracks are made."""
    parser.add_argument(
        "--polish-size",
        type=int,
        default=StarOptions.polish_size,
        metavar="N",
        help="limit of the long side where points are polished [1600]",
    )


def add_cameras(parser: argparse.ArgumentParser) -> None:
    """What the database says of cameras."""
    add = parser.add_argument
    add(
        "--camera",
        choices=("auto", "single", "per-folder", "per-image"),
        default="auto",
        help="which photographs share a camera: single is those of one size [auto: as EXIF says]",
    )
    add("--camera-model", default="SIMPLE_RADIAL", metavar="NAME", help="COLMAP's [SIMPLE_RADIAL]")


def workspace_of(options) -> pipeline.Workspace:
    """The folder of results, made where it is not there."""
    folder = pathlib.Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    return pipeline.Workspace(folder)


def matcher_of(options) -> Matcher:
    """The matcher that add_matching's options ask for."""
    asked = MatchOptions(
        resize=options.resize,
        threshold=options.threshold,
        upright=options.upright,
        scales=read_scales(options.scales),
        polish=ALL,  # tracks and poses have a choice of their own, from all that was found
    )
    return Matcher(api.load(options.weights), asked)


def run_matching(options, photos, pairs, place, shard: Shard | None = None) -> MatchStore:
    """The stage of matches."""
    weights, matcher = find_weights(options.weights), matcher_of(options)
    engine = Engine(name=options.engine, workers=options.workers, cores=options.cores)
    if engine.name == "ray":
        check_packages("ray")
    with progress("match", len(pairs)) as (bar, task):
        return pipeline.match_stage(
            matcher,
            weights,
            photos,
            pairs,
            place.matches,
            shard=shard,
            engine=engine,
            least_agreeing=options.least_agreeing,
            keep=options.keep,
            on_start=lambda done, total: bar.reset(task, completed=done, total=total),
            on_pair=lambda pair: bar.advance(task),
        )


def run_tracks(options, photos, pairs, place):
    """The stage of tracks: these, and their stamp."""
    chosen = StarOptions(polish_size=options.polish_size)
    with progress("tracks", len({name for pair in pairs for name in pair})) as (bar, task):
        store = MatchStore(place.matches)
        return pipeline.track_stage(
            photos, pairs, store, place, chosen, on_image=lambda: bar.advance(task)
        )


def run_database(options, photos, place) -> str:
    """The stage of the database; returns its stamp."""
    from astr_jax.reconstruction import database
    from astr_jax.reconstruction.mapping import quiet

    tracks, stamp = read_tracks(place.tracks)
    stamp = pipeline.stamp_of("database 1", stamp, options.camera, options.camera_model)
    if pipeline.read_stamp(place.database) == stamp:
        return stamp
    with quiet(), Console(stderr=True).status("writing and verifying the database ..."):
        database.write_database(
            place.database,
            options.photos,
            photos,
            tracks,
            camera=options.camera,
            camera_model=options.camera_model,
        )
    pipeline.write_stamp(place.database, stamp)
    return stamp


def run_mapping(options, photos, place, stamp: str) -> None:
    """The stage of mapping: models below sparse/."""
    from astr_jax.reconstruction import mapping

    stamp = pipeline.stamp_of("sparse 1", stamp, options.mapper)
    if pipeline.read_stamp(place.sparse) == stamp:
        return
    with mapping.quiet(), progress("map", len(photos)) as (bar, task):
        mapping.map_database(
            place.database,
            options.photos,
            place.sparse,
            mapper=options.mapper,
            threads=options.threads,
            on_image=lambda: bar.advance(task),
        )
    pipeline.write_stamp(place.sparse, stamp)


@contextlib.contextmanager
def progress(words: str, total: int) -> Iterator[tuple[Progress, int]]:
    """A bar with an estimate of the time that is left."""
    with progress_bar(Console(stderr=True)) as bar:
        yield bar, bar.add_task(f"{words:<8}", total=total)


def add_mapping(parser: argparse.ArgumentParser) -> None:
    """How the database becomes a model."""
    add = parser.add_argument
    add("--mapper", choices=("incremental", "global"), default="incremental", help="[incremental]")
    add("--threads", type=int, default=-1, metavar="N", help="of mapping [all]")


def check_packages(*names: str) -> None:
    """Raises ModuleNotFoundError before the work, where it would come after it; names: of packages,
    pycolmap without any. Not imported yet: pycolmap prints a trace of the stack when the process
    is ended."""
    for name in names or ("pycolmap",):
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def run_report(photos, place) -> str:
    """Writes the report; returns its first words."""
    from astr_jax.reconstruction import report

    with progress("report", 1) as (bar, task):
        words = report.write_report(place, photos)
        bar.advance(task)
    return words
