"""The hard pairs: their truth, and the sheet."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from astr_jax.evaluation.studies import gallery

OFF, ASIDE = np.array([3.0, 4.0]), np.array([20.0, 0.0])


def true_matches(truth, tolerance=0.05):
    """Pixels (x, y) of image 0 and where they lie in image 1, of all that both see; float64."""
    height, width = truth.depth0.shape
    rows, columns = np.nonzero(truth.depth0)
    points0 = np.stack([columns, rows], axis=-1)
    rays = np.concatenate([points0, np.ones((len(points0), 1))], -1) @ np.linalg.inv(truth.K0).T
    points = rays * truth.depth0[rows, columns, None]
    points = points @ truth.cam1_from_cam0[:3, :3].T + truth.cam1_from_cam0[:3, 3]
    points, points0 = points[points[:, 2] > 0.05], points0[points[:, 2] > 0.05]
    points1 = (points @ truth.K1.T)[:, :2] / points[:, 2:]
    x, y = np.rint(points1).astype(int).T
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    found = truth.depth1[y[inside], x[inside]]
    seen = np.abs(found - points[inside, 2]) < tolerance * found
    return points0[inside][seen], points1[inside][seen]


@pytest.fixture(scope="module")
def pairs():
    return {pair.name: pair for pair in gallery.hard_pairs()}


def test_all_pictures_have_one_size_and_differ(pairs):
    assert len(pairs) == 8
    for pair in pairs.values():
        assert pair.image0.shape == pair.image1.shape == gallery.SIZE
        assert pair.image0.dtype == pair.image1.dtype == np.uint8
        assert np.abs(pair.image0.astype(int) - pair.image1).mean() > 5


def test_errors_are_distances_from_the_truth(pairs):
    middle = np.array([[319.5, 239.5]])
    # A turn by 90 degrees about a point near the middle, seen from 15 degrees aside.
    turned = pairs["turned by 90 degrees"].errors
    shifts = np.stack(np.meshgrid(np.arange(-60, 61), np.arange(-60, 61)), -1).reshape(-1, 2)
    distances = turned(np.repeat(middle, len(shifts), 0), middle + shifts)
    assert distances.min() < 0.8  # one whole pixel near the middle is right
    there = middle + shifts[distances.argmin()]
    assert turned(middle, there + OFF) == pytest.approx(5, abs=1)
    # What lay to the right of it lies below or above it now.
    right_of_it = turned(np.repeat(middle + ASIDE, len(shifts), 0), there + shifts).argmin()
    assert np.abs(shifts[right_of_it][1]) > 3 * np.abs(shifts[right_of_it][0])
    assert (pairs["two towns with nothing in common"].errors(middle, middle) == np.inf).all()


def test_the_street_knows_where_its_points_went(pairs):
    rendered = gallery.rendered_street([gallery.painted_town(7), gallery.painted_town(8)])
    points0, points1 = true_matches(rendered.truth)
    street = pairs["a street, with depth"]
    np.testing.assert_array_equal(rendered.image0, street.image0)
    assert len(points0) > 1000
    assert street.errors(points0.astype(float), points1).max() < 1e-2
    everywhere = (
        np.mgrid[: gallery.SIZE[1] : 8, : gallery.SIZE[0] : 8].reshape(2, -1).T.astype(float)
    )
    seen = {tuple(point) for point in points0}
    known = np.isfinite(street.errors(everywhere, everywhere))
    assert [tuple(point) in seen for point in everywhere.astype(int)] == known.tolist()
    assert street.errors(np.array([[700.0, 20.0], [-9.0, 5.0]]), np.zeros((2, 2))).min() == np.inf
    assert street.errors(points0.astype(float), points1 + OFF) == pytest.approx(5, abs=1e-2)


def test_the_sheet_shows_every_pair_with_its_right_matches(pairs, monkeypatch, tmp_path):
    points = np.array([[100.0, 50], [200, 60], [300, 70]])
    found = points, points + np.array([[2, 0], [4, 0], [0, 50]]), np.array([0.9, 0.8, 0.7])
    drawn, draw = [], gallery.draw_matches

    def spy(image0, image1, matches, **options):
        drawn.append((options["title"], options["error"].tolist(), options["right"]))
        return draw(image0, image1, matches, **options)

    flat = dataclasses.replace(
        pairs["turned by 90 degrees"],
        name="the same",
        errors=lambda points0, points1: np.linalg.norm(points0 - points1, axis=1),
    )
    monkeypatch.setattr(gallery, "draw_matches", spy)
    monkeypatch.setattr(gallery, "hard_pairs", lambda: iter([flat, *list(pairs.values())[1:]]))
    sheet = gallery.draw_gallery(lambda *images: found, "made-up", Console(quiet=True))
    sheet.savefig(tmp_path / "gallery.jpg")
    assert drawn[0] == ("the same, 1 right", [2, 4, 50], 3)
    assert drawn[-1] == ("two towns with nothing in common, 0 right", [np.inf] * 3, 3)
    with Image.open(tmp_path / "gallery.jpg") as sheet:
        assert sheet.width > 1500
        assert sheet.height > sheet.width / 2
        middle = np.asarray(sheet.convert("L"), float)[sheet.height // 8 :: sheet.height // 4]
        assert (middle.std(axis=1) > 10).all()  # all four rows show pictures
