"""Models to localise in, the cameras of queries, and what is found of points in them."""

import numpy as np
import pytest
from localisation.synthetic_model import FOCAL, HEIGHT, TURNED, WIDTH, camera_of, make_model
from pictures import picture
from PIL import Image

from astr_jax.images import to_stored, to_upright
from astr_jax.localisation.cameras import cameras_of, read_cameras
from astr_jax.localisation.correspondences import Correspondences, surest_of_each
from astr_jax.localisation.localise import match_queries
from astr_jax.localisation.scene import read_scene
from astr_jax.localisation.similar import most_similar_views
from astr_jax.reconstruction.photos import find_photos, read_photo


@pytest.fixture(scope="module")
def invented(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("scenes"))


@pytest.fixture(scope="module")
def scene(invented):
    return read_scene(invented.model, invented.images)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_points_come_back_from_pixels_as_stored(orientation, rng):
    points = rng.uniform(0, 40, (5, 2))
    stored = to_stored(points, orientation, (41, 60))
    np.testing.assert_allclose(to_upright(stored, orientation, (41, 60)), points, atol=1e-12)


def test_views_show_points_in_pixels_of_the_upright_image(invented, scene):
    assert [view.photo.name for view in scene.views] == sorted(invented.seen)
    for view in scene.views:
        np.testing.assert_allclose(view.points, invented.seen[view.photo.name], atol=1e-9)
        np.testing.assert_allclose(scene.positions(view.point_ids), invented.xyz)


def test_a_model_without_its_images_or_with_smaller_ones_is_refused(invented, tmp_path):
    with pytest.raises(ValueError, match=r"3 of the 3 images of .* the first: 0.png"):
        read_scene(invented.model, tmp_path)
    for name in invented.seen:
        Image.open(invented.images / name).resize((64, 48)).save(tmp_path / name)
    with pytest.raises(ValueError, match="64 x 48, but its camera in the model 128 x 96"):
        read_scene(invented.model, tmp_path)
    with pytest.raises(ValueError, match="is no COLMAP model"):
        read_scene(tmp_path, invented.images)


def test_a_listed_camera_counts_then_exif_then_the_most_similar_view(invented, scene, tmp_path):
    picture_of = Image.fromarray(picture(HEIGHT, WIDTH))
    exif = picture_of.getexif()
    exif.get_ifd(0x8769)[0xA405] = 50  # focal length in 35 mm film
    picture_of.save(tmp_path / "q.jpg", exif=exif)
    query = find_photos(tmp_path, fewest=1)[0]
    (tmp_path / "list.txt").write_text("# mine\nq.jpg SIMPLE_PINHOLE 128 96 99 64 48\n")
    listed = read_cameras(tmp_path / "list.txt")
    assert cameras_of([query], listed, scene, [[0]])[0].mean_focal_length() == 99
    by_exif = cameras_of([query], None, scene, [[0]])[0].mean_focal_length()
    assert by_exif == pytest.approx(50 / np.hypot(24, 36) * np.hypot(96, 128), rel=1e-3)
    by_model = cameras_of([query], None, scene, [[1, 2, 0]], exif=False)[0]
    assert by_model.camera_id == scene.views[2].camera_id  # view 1 has another size
    assert by_model.mean_focal_length() == FOCAL
    picture_of.resize((50, 40)).save(tmp_path / "small.png")
    small = read_photo("small.png", tmp_path / "small.png")
    with pytest.raises(ValueError, match=r"nothing tells the camera of small.png \(50 x 40\)"):
        cameras_of([small], None, scene, [[0]])
    with pytest.raises(ValueError, match=r"has no line for small.png"):
        cameras_of([small], listed, scene, [[0]])


@pytest.mark.parametrize(
    "line", ["q.jpg PINHOLE 128 96 99 64 48", "q.jpg NONE 1 1 1", "q.jpg", "q PINHOLE a 96 1 1 1 1"]
)
def test_a_bad_line_of_cameras_is_named(tmp_path, line):
    (tmp_path / "list.txt").write_text(f"\n{line}\n")
    with pytest.raises(ValueError, match="line 2: expected NAME MODEL"):
        read_cameras(tmp_path / "list.txt")


def test_queries_that_are_matched_stay_matched(invented, scene, tmp_path):
    queries, calls = find_photos(invented.images), []

    def find(view, number, query):
        calls.append((number, query.name))
        return some(number, [7.0 + number])

    def run(settings, similar):
        calls.clear()
        return match_queries(find, scene, queries, similar, tmp_path, settings=settings)

    similar = [[1, 2], [0], [1]]
    first = run("a", similar)
    assert calls == [(1, "0.png"), (2, "0.png"), (0, "1.png"), (1, "2.png")]
    again = run("a", similar)
    assert calls == []
    np.testing.assert_array_equal(again[0].sigma, first[0].sigma)
    np.testing.assert_array_equal(again[0].views, [1, 2])
    run("a", [[1, 2], [0], [0]])
    assert calls == [(0, "2.png")]
    run("b", similar)
    assert len(calls) == 4
    file = next(tmp_path.glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:30])
    run("b", similar)
    assert len(calls) in (1, 2)  # of the damaged one alone


def some(number, sigmas):
    """Rows of one point each, of a view."""
    count = len(sigmas)
    return Correspondences(
        points=np.zeros((count, 2), np.float32),
        point_ids=np.ones(count, np.int64),
        sigma=np.array(sigmas, np.float32),
        confidence=np.ones(count, np.float32),
        views=np.full(count, number, np.int32),
    )


def test_of_a_point_the_surest_row_stays():
    found = some(0, [0.5, 0.2, 0.9, 0.1])
    found.point_ids[3] = 5
    chosen = surest_of_each(found)
    assert chosen.point_ids.tolist() == [1, 5]
    np.testing.assert_allclose(chosen.sigma, [0.2, 0.1])


def test_queries_meet_the_views_of_their_kind():
    rng = np.random.default_rng(1)
    kinds = rng.normal(size=(2, 32))
    database = kinds[[0, 0, 1, 1]] + 0.1 * rng.normal(size=(4, 32)) + 5.0
    queries = kinds[[1]] + 0.1 * rng.normal(size=(1, 32)) + 5.0
    assert set(most_similar_views(database, queries, most=2)[0]) == {2, 3}


def test_a_turned_file_has_a_turned_camera(invented, scene):
    assert scene.views[1].photo.name == TURNED
    assert scene.views[1].photo.upright_shape == (HEIGHT, WIDTH)
    assert camera_of((HEIGHT, WIDTH)).height == scene.views[1].photo.stored_shape[0]
