"""Images held out of a model, and how their poses are scored."""

import numpy as np
import pycolmap
import pytest
from localisation.synthetic_model import camera_of, make_model

from astr_jax.evaluation.studies.held_out import hold_out, score_held_out, sift_finder
from astr_jax.localisation.correspondences import Correspondences
from astr_jax.localisation.localise import localise
from astr_jax.localisation.scene import scene_of
from astr_jax.reconstruction.photos import read_photo


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """Two of five images held out: what was invented, their true poses, the rest as a scene."""
    invented = make_model(tmp_path_factory.mktemp("held"), count=5)
    model = pycolmap.Reconstruction(invented.model)
    truth = hold_out(model, 3)
    return invented, truth, scene_of(model, invented.images, name="the model")


def test_every_third_image_is_taken_out_and_its_points_stay(held):
    invented, truth, scene = held
    assert list(truth) == ["0.png", "3.png"]
    assert [view.photo.name for view in scene.views] == ["1.png", "2.png", "4.png"]
    np.testing.assert_allclose(scene.xyz, invented.xyz)
    for name, pose in truth.items():
        np.testing.assert_allclose(pose, invented.cam_from_world[name], atol=1e-9)


def test_errors_are_in_percent_of_the_depth_and_a_missing_pose_is_infinite(held):
    invented, truth, scene = held
    places = []
    for name, count in (("0.png", 60), ("3.png", 0)):
        photo = read_photo(name, invented.images / name)
        found = Correspondences(
            points=invented.seen[name][:count],
            point_ids=np.arange(1, count + 1),
            sigma=np.ones(count),
            confidence=np.ones(count),
            views=np.zeros(count, np.int32),
        )
        camera = camera_of(photo.stored_shape[::-1])
        places.append(localise(photo, camera, found, scene, views=[0], resize=640))
    exact = score_held_out(places, truth, scene)
    assert exact.position[0] < 1e-4
    assert np.isinf(exact.position[1])
    assert exact.recall == [50, 50, 50]
    moved = {name: pose.copy() for name, pose in truth.items()}
    moved["0.png"][:3, 3] += [0.06, 0, 0]  # points lie about 4 away
    off = score_held_out(places, moved, scene)
    assert off.position[0] == pytest.approx(1.5, rel=0.05)
    assert off.recall == [0, 0, 50]


def test_sift_finds_the_points_of_a_copy(held):
    invented, _, scene = held
    view = scene.views[1]
    found = sift_finder()(view, 7, view.photo)
    assert len(found) >= 5
    true = invented.seen["2.png"][found.point_ids - 1]
    assert np.linalg.norm(found.points - true, axis=1).max() <= 2.0
    assert set(found.views) == {7}


def test_a_model_of_which_nothing_would_be_left_is_refused(held):
    model = pycolmap.Reconstruction(held[0].model)
    with pytest.raises(ValueError, match="every must be at least 2"):
        hold_out(model, 1)
