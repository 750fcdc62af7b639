"""The page and its curves: self-contained, complete, and drawn from the records."""

import base64
import dataclasses
import io
import re

import numpy as np
import pytest
from miniatures import grid_matcher
from PIL import Image

from astr_jax.evaluation.reports import figures
from astr_jax.evaluation.reports.page import page_of
from astr_jax.evaluation.reports.pictures import draw_pairs
from astr_jax.evaluation.scores.homographies import HOMOGRAPHY
from astr_jax.evaluation.scores.poses import POSE


def embedded(page):
    return [
        Image.open(io.BytesIO(base64.b64decode(text)))
        for text in re.findall(r"src='data:image/png;base64,([^']+)'", page)
    ]


def test_the_page_has_everything_and_needs_no_other_file(reports, benchmark):
    pictures = draw_pairs(reports[0], benchmark, grid_matcher, count=1)
    page = page_of(reports, pictures)
    images = embedded(page)
    # Curves, accuracy, two kinds of difficulty and of calibration, and two pairs of each kind.
    assert len(images) == 2 + 2 + 2 + 4
    assert all(np.asarray(image.convert("L")).std() > 5 for image in images)
    assert not re.findall(r"(?:src|href)=['\"](?!data:)", page)
    for words in ("a &lt;b&gt;", "Failures", "&lt;out of film&gt;", "Protocol", "worst: posed"):
        assert words in page
    assert "<b>" not in page
    assert "differs" not in page.split("<h2>Protocol")[1]  # both were made alike


def test_a_report_of_some_pairs_says_so_on_its_page(reports):
    some = dataclasses.replace(reports[0], protocol=reports[0].protocol | {"whole": 9})
    assert "grid: 6 pairs of the 9 of pairs" in page_of([some])
    assert "pairs of the" not in page_of(reports[:1])


def test_the_curves_have_a_panel_per_estimator_that_ends_at_the_share_of_found_pairs(reports):
    figure = figures.draw_curves(reports)
    names = ["poselib@1", "magsac@1", "ransac@0.5", "magsac@3"]
    assert [axes.get_title() for axes in figure.axes] == names
    for axes in figure.axes:
        curves = [line for line in axes.lines if len(line.get_xdata()) == 400]
        assert all((np.diff(line.get_ydata()) >= 0).all() for line in curves)
        for curve, report in zip(curves, reports, strict=True):
            errors = [r.errors.get(axes.get_title()) for r in report.records]
            found = [e[0] < axes.get_xlim()[1] for e in errors if e is not None]
            assert curve.get_ydata()[-1] == pytest.approx(np.mean(found))
    # Of three pairs one fails.
    ends = [line.get_ydata()[-1] for line in figure.axes[3].lines if len(line.get_xdata()) == 400]
    assert ends == pytest.approx([1.0, 2 / 3])


def test_calibration_is_drawn_of_the_pooled_matches(reports):
    figure = figures.draw_calibration(reports[:1], HOMOGRAPHY)
    confidence, sigma = figure.axes
    claimed, found = confidence.lines[-1].get_data()
    assert found[0] < 0.9 < found[-1]  # the noise grows as the confidence falls
    assert (np.diff(claimed) > 0).all()
    x, y = sigma.lines[-1].get_data()
    assert x[-1] > 2
    np.testing.assert_allclose(y, np.sqrt(2 * np.log(2)) * x, rtol=0.2)
    factor = re.fullmatch(r"grid \(sigma x ([\d.]+) fits\)", sigma.lines[-1].get_label())[1]
    assert float(factor) == pytest.approx(1, abs=0.1)
    without = figures.draw_calibration(reports[1:], HOMOGRAPHY)
    assert len(without.axes) == 1  # it gives no sigma


def test_the_page_of_a_matcher_without_sigma_or_probabilities_has_no_calibration(reports):
    without = {"confidence_bins": None, "sigma_bins": None}
    records = [dataclasses.replace(record, **without) for record in reports[0].records]
    page = page_of([dataclasses.replace(reports[0], records=tuple(records))])
    assert "Calibration" not in page


def test_difficulty_is_drawn_against_what_is_known(reports):
    labels = [axes.get_xlabel() for axes in figures.draw_difficulty(reports, POSE).axes]
    assert labels == ["overlap", "true rotation about the optical axis, degrees"]
    assert len(figures.draw_difficulty(reports, HOMOGRAPHY).axes) == 3
