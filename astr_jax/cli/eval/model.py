"""Score a COLMAP model against true poses.

examples:
  astr eval model out/sparse/0 --truth pairs/index.json      true poses of pairs
  astr eval model out/sparse/0 --truth true/sparse/0         another model of the same photographs
  astr eval model out/sparse/0 sift/0 --truth pairs/index.json --photos photos    beside another

A pose error is the larger of the angles of rotation and of translation between two images. Pairs of
a true model are those that share 30 points. A pair of which the model lacks an image has failed.
With --photos, only what this folder holds is asked for.
"""

from rich.console import Console
from rich.table import Table

from astr_jax.evaluation.scores.models import THRESHOLDS, read_truth, score_model
from astr_jax.reconstruction.photos import find_photos


def add_arguments(parser) -> None:
    """The options of astr eval model."""
    add = parser.add_argument
    add("models", nargs="+", metavar="MODEL", help="folders with cameras, images, points3D")
    add("--truth", required=True, metavar="FILE", help="index.json of pairs, or a COLMAP model")
    add("--photos", metavar="DIR", help="the photographs that the models were made of")


def run(options) -> None:
    """Prints a line for each model."""
    import pycolmap

    models = {path: pycolmap.Reconstruction(path) for path in options.models}
    if options.photos is not None:
        names = {photo.name for photo in find_photos(options.photos)}
    else:
        names = {image.name for model in models.values() for image in model.images.values()}
    truth = read_truth(options.truth, names)
    table = Table(title=f"{len(names)} photographs, {len(truth)} pairs")
    auc = "AUC@" + "/".join(f"{threshold:g}" for threshold in THRESHOLDS)
    for name in ("model", "registered", "points", "track length", "reprojection, px", auc):
        table.add_column(name, justify="left" if name == "model" else "right")
    for path, model in models.items():
        score = score_model(model, truth)
        table.add_row(
            path,
            str(score.registered),
            str(score.points),
            f"{score.track_length:.2f}",
            f"{score.reprojection:.3f}",
            " / ".join(f"{area:.1f}" for area in score.auc),
        )
    Console(width=120).print(table)
