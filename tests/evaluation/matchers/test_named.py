"""The model as a matcher by its name."""

import numpy as np
import pytest

from astr_jax.evaluation.matchers.named import AstrCandidates, astr_matcher
from astr_jax.matching import Matcher, MatchOptions
from astr_jax.matching.first_look import Look
from astr_jax.params import Calibration, Params, save_params


@pytest.fixture
def weights(tmp_path, nano_config, nano_variables):
    path = tmp_path / "micro.safetensors"
    save_params(path, Params(nano_variables, nano_config), note="of noise, CC0", dtype="bfloat16")
    return path


@pytest.fixture
def images(make_images):
    """One picture and the same moved by a cell, grey uint8 144 x 192."""
    picture = np.asarray(255 * make_images(3, (1, 144, 200))[0, ..., 0]).astype(np.uint8)
    return picture[:, :192], picture[:, 8:]


SIDE = 128  # that they are matched at
FOUND = Calibration(temperature=0.5, sigma_factor=3.0, threshold=0.005)


def by_cell(points0):
    """The row of each keypoint of image 0, by its cell."""
    return {tuple(cell): row for row, cell in enumerate(np.round(points0 / 8).astype(int))}


def test_log_p_of_the_candidates_is_what_match_finds_at_that_temperature(
    weights, images, monkeypatch
):
    # Candidates are of one scale, and the ratios of a few random matches are fits to noise.
    monkeypatch.setattr(Matcher, "_look", lambda *looked: Look(float(looked[-1] == 1), 1.0))
    monkeypatch.setattr(MatchOptions, "estimator_for", lambda *_: "none")
    candidates = AstrCandidates(str(weights), SIDE, (0.5, 1.0))
    (points0, points1, confidence, sigma), log_confidence = candidates(*images)
    assert log_confidence.shape == (2, len(confidence))
    np.testing.assert_allclose(np.exp(log_confidence[1]), confidence, rtol=1e-4)
    match = astr_matcher(str(weights), SIDE, FOUND).match
    theirs0, theirs1, theirs, their_sigma = match(*images)
    rows = by_cell(theirs0)
    same = [
        (row, rows[cell])
        for cell, row in by_cell(points0).items()
        if cell in rows and np.abs(points1[row] - theirs1[rows[cell]]).max() < 0.05
    ]
    assert len(same) > 0.6 * len(theirs)  # the mutual matches differ a little
    mine, other = np.array(same).T
    np.testing.assert_allclose(np.exp(log_confidence[0, mine]), theirs[other], rtol=1e-3)
    np.testing.assert_allclose(3 * sigma[mine], their_sigma[other], rtol=0.05)
