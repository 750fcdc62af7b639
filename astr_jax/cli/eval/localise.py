"""Score astr localise on images held out of a COLMAP model, beside SIFT.

examples:
  astr eval localise model/sparse/0 --images photos --out build/localise
  astr eval localise model/sparse/0 --images photos --out build/localise --every 4 --most 5

Every third image, by name, is taken out of MODEL and localised in what is left, with the model's
own camera. An error of position is in percent of the median depth of the points that are seen. SIFT
is OpenCV's: what is matched within two pixels of an observed keypoint shows its point. Database
images, estimator and bounds are the same for both.
"""

import pathlib

import numpy as np
from rich.console import Console
from rich.table import Table

from astr_jax.cli import reconstruction
from astr_jax.cli.localise import add_locating, similar_views
from astr_jax.cli.reconstruction import GOES_ON
from astr_jax.params import find_weights
from astr_jax.reconstruction.bulk import settings_of

__all__ = ["GOES_ON", "add_arguments", "run"]


def add_arguments(parser) -> None:
    """The options of astr eval localise."""
    add = parser.add_argument
    add("model", metavar="MODEL", help="a folder with cameras, images and points3D")
    add("--images", required=True, metavar="DIR", help="the photographs of the model")
    add("--out", required=True, metavar="DIR", help="where matches are kept")
    add("--every", type=int, default=3, metavar="N", help="every Nth image is a query [3]")
    add_locating(parser)


def run(options) -> None:
    """Localises and prints a line for each matcher."""
    reconstruction.check_packages("pycolmap", "poselib")
    import pycolmap

    from astr_jax.evaluation.studies import held_out
    from astr_jax.localisation import localise, scene
    from astr_jax.reconstruction.photos import read_photo

    model, images = pycolmap.Reconstruction(options.model), pathlib.Path(options.images)
    truth = held_out.hold_out(model, options.every)
    place = scene.scene_of(model, images, name=options.model)
    own = {image.name: model.cameras[image.camera_id] for image in model.images.values()}
    queries = tuple(read_photo(name, images / name) for name in truth)
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    similar = similar_views(options, place, queries, out)
    matcher = reconstruction.matcher_of(options)
    ways = {
        "astr": (
            localise.finder(matcher, keep=options.keep),
            settings_of(matcher.options, find_weights(options.weights)),
        ),
        "sift": (held_out.sift_finder(), "sift"),
    }
    table = _table(options, place, queries)
    for name, (find, settings) in ways.items():
        with reconstruction.progress(name, sum(map(len, similar))) as (bar, task):
            found = localise.match_queries(
                find,
                place,
                queries,
                similar,
                out / name,
                settings=settings,
                on_query=lambda count, bar=bar, task=task: bar.advance(task, count),
            )
        places = [
            localise.localise(
                query,
                own[query.name],
                rows,
                place,
                views=views,
                resize=options.resize,
                max_error=options.max_error,
            )
            for query, rows, views in zip(queries, found, similar, strict=True)
        ]
        _add_row(table, name, places, held_out.score_held_out(places, truth, place))
    Console(width=120).print(table)


def _table(options, place, queries) -> Table:
    title = f"{options.model}: {len(queries)} queries, {len(place.views)} database images"
    table = Table(title=title)
    table.add_column("matcher")
    for name in ("localised", "inliers", "median error", "within", "error / sigma"):
        table.add_column(name, justify="right")
    return table


def _add_row(table: Table, name: str, places, score) -> None:
    there = [x.pose for x in places if x.pose is not None]
    sigmas = score.sigmas[np.isfinite(score.sigmas)]
    recall = " / ".join(f"{share:.0f}" for share in score.recall)
    table.add_row(
        name,
        str(len(there)),
        f"{np.median([pose.inliers.sum() for pose in there] or [0]):.0f}",
        f"{np.median(score.position):.3f} %, {np.median(score.rotation):.3f} deg",
        f"{recall} %",
        f"{np.median(sigmas):.2f}" if len(sigmas) else "-",
    )
