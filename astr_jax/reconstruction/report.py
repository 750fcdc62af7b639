"""report.html: what came of a reconstruction, on one page that needs no network."""

import base64
import html
import io
import pathlib
from collections.abc import Sequence

import numpy as np
import pycolmap
from matplotlib.figure import Figure

from astr_jax.files import replacing
from astr_jax.reconstruction import report_figures
from astr_jax.reconstruction.mapping import read_models
from astr_jax.reconstruction.photos import Photo
from astr_jax.reconstruction.pipeline import Workspace
from astr_jax.reconstruction.tracks import read_tracks

WORST = 12  # photographs that the table of the worst names
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; } td, th { padding: .2rem .8rem .2rem 0;
  text-align: left; vertical-align: top; } td.n, th.n { text-align: right; }
th { border-bottom: 1px solid #999; } img { max-width: 100%; } .faint { color: #666; }
"""


def write_report(place: Workspace, photos: Sequence[Photo]) -> str:
    """Writes DIR/report.html of the tracks, the database and the models; returns a line of it."""
    tracks, _ = read_tracks(place.tracks)
    models = read_models(place.sparse)
    largest = models[0]
    names = [photo.name for photo in photos]
    inliers = verified_inliers(place.database, names)
    words = summary(largest, len(names))
    page = [
        f"<h1>{html.escape(place.folder.resolve().name)}</h1><p>{html.escape(words)}</p>",
        _table(("model", "photographs", "points", "track length", "error, px"), _rows(models)),
        "<h2>Cameras and points</h2>",
        "<p>Seen from above and from the front, along the main directions of the cameras; the line "
        "joins the photographs in the order of their names.</p>",
        _picture(report_figures.draw_model(largest)),
        "<h2>Pairs</h2><p>Verified matches of each pair, in the order of the names.</p>",
        _picture(report_figures.draw_pairs(inliers)),
        "<h2>Tracks</h2>",
        f"<p>{tracks.count} tracks of {tracks.mean_length:.2f} photographs on average were made; "
        f"{largest.num_points3D()} of the model's points have "
        f"{largest.compute_mean_track_length():.2f} each.</p>",
        _picture(report_figures.draw_lengths(tracks, largest)),
        "<h2>Photographs that need a look</h2>",
        _table(
            ("photograph", "state", "observations", "error, px", "partners"),
            _worst(largest, names, inliers),
        ),
    ]
    head = '<!doctype html><html lang="en"><meta charset="utf-8">'
    text = f"{head}<title>{html.escape(words)}</title><style>{STYLE}</style>{''.join(page)}</html>"
    with replacing(place.report) as beside:
        beside.write_text(text, encoding="utf-8")
    return words


def summary(model: pycolmap.Reconstruction, count: int) -> str:
    """What a model is, in a line."""
    return (
        f"{model.num_reg_images()} of {count} photographs registered, {model.num_points3D()} "
        f"points, mean track length {model.compute_mean_track_length():.2f}, mean reprojection "
        f"error {model.compute_mean_reprojection_error():.3f} px"
    )


def verified_inliers(file: pathlib.Path, names: Sequence[str]) -> np.ndarray:
    """Verified matches of each pair, [n n], symmetric."""
    number = {name: n for n, name in enumerate(names)}
    count = np.zeros((len(names), len(names)), int)
    database = pycolmap.Database.open(file)
    try:
        of_id = {image.image_id: number[image.name] for image in database.read_all_images()}
        pairs, geometries = database.read_two_view_geometries()
    finally:
        database.close()
    for pair, geometry in zip(pairs, geometries, strict=True):
        i, j = (of_id[image] for image in pycolmap.pair_id_to_image_pair(pair))
        count[i, j] = count[j, i] = len(geometry.inlier_matches)
    return count


def _rows(models) -> list[tuple]:
    return [
        (
            f"sparse/{number}",
            model.num_reg_images(),
            model.num_points3D(),
            f"{model.compute_mean_track_length():.2f}",
            f"{model.compute_mean_reprojection_error():.3f}",
        )
        for number, model in models.items()
    ]


def _worst(model: pycolmap.Reconstruction, names: Sequence[str], inliers: np.ndarray) -> list:
    """The photographs that are missing, then those with the largest errors."""
    images = {image.name: image for image in model.images.values() if image.has_pose}
    partners = (inliers > 0).sum(axis=1)
    missing = [
        (name, "not registered", 0, "", partners[n])
        for n, name in enumerate(names)
        if name not in images
    ]
    errors = {name: _error(model, image) for name, image in images.items()}
    there = sorted(errors, key=lambda name: -errors[name])[: max(0, WORST - len(missing))]
    number = {name: n for n, name in enumerate(names)}
    return missing + [
        (name, "", images[name].num_points3D, f"{errors[name]:.3f}", partners[number[name]])
        for name in there
    ]


def _error(model: pycolmap.Reconstruction, image: pycolmap.Image) -> float:
    """Mean reprojection error of an image, pixels."""
    seen = [point for point in image.points2D if point.has_point3D()]
    if not seen:
        return 0.0
    points = np.array([model.points3D[point.point3D_id].xyz for point in seen])
    camera = model.cameras[image.camera_id]
    there = camera.img_from_cam(image.cam_from_world() * points)
    return float(np.linalg.norm(there - [point.xy for point in seen], axis=1).mean())


def _table(head: Sequence[str], rows: Sequence[Sequence]) -> str:
    def cells(row, tag):
        marks = ("" if column == 0 else ' class="n"' for column in range(len(row)))
        return "".join(
            f"<{tag}{mark}>{html.escape(str(x))}</{tag}>"
            for x, mark in zip(row, marks, strict=True)
        )

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table><tr>{cells(head, 'th')}</tr>{body}</table>"


def _picture(figure: Figure) -> str:
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=110)
    data = base64.b64encode(held.getvalue()).decode()
    return f'<img alt="" src="data:image/png;base64,{data}">'
