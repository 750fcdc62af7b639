"""Find where photographs were taken, in a COLMAP model.

examples:
  astr localise model/sparse/0 queries --images photos --out places
  astr localise theirs/sparse queries --images theirs/images --out places --cameras cameras.txt
  astr localise model/sparse/0 queries --images photos --out places --camera model   one camera

MODEL is a COLMAP model, ours or another's; --images the folder that it was made from. Each query is
matched with the database images that look most like it; PoseLib finds its pose from the points of
the model that it shows. DIR/poses.txt has the poses in hloc's format, DIR/sparse in COLMAP's, with
the inliers; DIR/poses.json has all of it, with covariances. Stopped or killed, the same command
goes on.

A query's camera is that of --cameras, a list as hloc has it, "NAME MODEL WIDTH HEIGHT PARAMS" a
line; else it follows the focal length of EXIF; else it is that of the most similar database image
of the same size.
"""

import hashlib
import pathlib

from rich.console import Console
from rich.table import Table

from astr_jax import api
from astr_jax.cli import reconstruction
from astr_jax.cli.reconstruction import GOES_ON
from astr_jax.localisation.localise import MAX_ERROR, MOST_VIEWS
from astr_jax.params import find_weights
from astr_jax.reconstruction.bulk import settings_of
from astr_jax.reconstruction.photos import find_photos

__all__ = ["GOES_ON", "add_arguments", "run"]


def add_arguments(parser) -> None:
    """The options of astr localise."""
    add = parser.add_argument
    add("model", metavar="MODEL", help="a folder with cameras, images and points3D")
    add("queries", metavar="QUERIES", help="a folder of photographs; what lies below it counts too")
    add("--images", required=True, metavar="DIR", help="the photographs of the model")
    add("--out", required=True, metavar="DIR", help="where the results go")
    add("--cameras", metavar="FILE", help="the queries' cameras, as hloc lists them")
    add(
        "--camera",
        choices=("exif", "model"),
        default="exif",
        help="without --cameras: by EXIF, where it tells; or always as the model has it [exif]",
    )
    add_locating(parser)


def add_locating(parser) -> None:
    """How queries are matched, and what an inlier is."""
    add = parser.add_argument
    add("--most", type=int, default=MOST_VIEWS, metavar="N", help="database images of each [10]")
    add(
        "--max-error",
        type=float,
        default=MAX_ERROR,
        metavar="PX",
        help=f"of an inlier, pixels of the size that is matched at [{MAX_ERROR:g}]",
    )
    reconstruction.add_matching(parser)


def run(options) -> None:
    """Matches what is missing, and writes all poses."""
    reconstruction.check_packages("pycolmap", "poselib")
    from astr_jax.localisation import cameras, localise, results, scene

    if not options.max_error > 0:
        raise ValueError(f"--max-error must be above 0; got {options.max_error}.")
    listed = None if options.cameras is None else cameras.read_cameras(options.cameras)
    model = scene.read_scene(options.model, options.images)
    queries = find_photos(options.queries, fewest=1)
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    similar = similar_views(options, model, queries, out)
    known = cameras.cameras_of(queries, listed, model, similar, exif=options.camera == "exif")
    matcher = reconstruction.matcher_of(options)
    with reconstruction.progress("match", sum(map(len, similar))) as (bar, task):
        found = localise.match_queries(
            localise.finder(matcher, keep=options.keep),
            model,
            queries,
            similar,
            out / "matches",
            settings=settings_of(matcher.options, find_weights(options.weights)),
            on_query=lambda count: bar.advance(task, count),
        )
    places = [
        localise.localise(
            *given, model, views=views, resize=options.resize, max_error=options.max_error
        )
        for *given, views in zip(queries, known, found, similar, strict=True)
    ]
    results.write_results(out, places, model)
    report(places, out)


def similar_views(options, model, queries, out: pathlib.Path):
    """Of each query the database images that it is matched with."""
    from astr_jax.localisation.similar import described, most_similar_views

    params, weights = api.load(options.weights), find_weights(options.weights)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    database = [view.photo for view in model.views]
    with reconstruction.progress("look", len(database) + len(queries)) as (bar, task):
        described_ones = (
            described(
                params,
                photos,
                out / f"{name}.safetensors",
                weights=digest,
                on_image=lambda count: bar.advance(task, count),
            )
            for name, photos in (("database", database), ("queries", queries))
        )
        return most_similar_views(*described_ones, most=options.most)


def report(places, out: pathlib.Path) -> None:
    """Prints a line for each query."""
    table = Table(title=f"{sum(x.pose is not None for x in places)} of {len(places)} localised")
    table.add_column("query")
    for name in ("points", "inliers", "residual, px", "sigma of position", "of rotation, degrees"):
        table.add_column(name, justify="right")
    for place in places:
        words = [place.photo.name, str(len(place.found))]
        if place.pose is None:
            table.add_row(*words, "not localised")
            continue
        pose = place.pose
        numbers = f"{pose.residual:.2f}", f"{pose.sigma_position:.3g}", f"{pose.sigma_rotation:.3f}"
        table.add_row(*words, str(int(pose.inliers.sum())), *numbers)
    Console(width=120).print(table)
    print(f"wrote {out / 'poses.txt'}, {out / 'poses.json'} and {out / 'sparse'}")
