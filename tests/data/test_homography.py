import cv2
import jax
import numpy as np
import pytest

from astr_jax.cli import main as astr
from astr_jax.data import cameras
from astr_jax.data.homography import HomographyConfig, HomographyPairs, make_pair, sample_views
from astr_jax.data.photometry import PhotometricConfig
from astr_jax.geometry import warp_points
from astr_jax.supervision import PairBatch, PlaneTruth

NO_LIGHT = PhotometricConfig(
    occlusion_probability=0,
    shadow_probability=0,
    gradient_probability=0,
    tone_probability=0,
    gaussian_blur_probability=0,
    motion_blur_probability=0,
    noise_probability=0,
    jpeg_probability=0,
)
SMALL = {"height": 96, "width": 128}
PLAIN = HomographyConfig(**SMALL, light=NO_LIGHT)


def make_photo(seed, size=(200, 260), sigma=3.0):
    """Smooth noise: content everywhere, and little that is finer than a pixel."""
    noise = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), sigma)
    return np.clip(128 + 45 * smooth / smooth.std(), 0, 255).astype(np.uint8)


PHOTOS = [make_photo(seed) for seed in range(4)]


def pixels(size):
    v, u = np.indices(size)
    return np.stack([u.ravel(), v.ravel()], -1).astype(float)


def seen_in_both(pair):
    """Returns the pixels of image 0 and of image 1 (floats) that show the same visible points."""
    height, width = pair.image0.shape
    points0 = pixels(pair.image0.shape)[pair.truth.visible0.ravel()]
    mapped = np.c_[points0, np.ones(len(points0))] @ pair.truth.homography.astype(float).T
    points1 = mapped[:, :2] / mapped[:, 2:]
    inside = np.all((points1 >= 0) & (points1 <= (width - 1, height - 1)), -1)
    points0, points1 = points0[inside], points1[inside]
    x, y = np.rint(points1).astype(int).T
    both = pair.truth.visible1[y, x]
    return points0[both], points1[both]


def content_error(pair, shift=(0.0, 0.0)):
    """Mean |image 0 - image 1 at its homography, moved by shift|, grey levels, where both see."""
    points0, points1 = seen_in_both(pair)
    at = (points1 + shift).astype(np.float32)
    there = cv2.remap(pair.image1, at[None, :, 0], at[None, :, 1], cv2.INTER_LINEAR)[0]
    here = pair.image0[points0[:, 1].astype(int), points0[:, 0].astype(int)]
    return np.abs(here.astype(float) - there).mean()


@pytest.mark.parametrize("difficulty", [0.0, 0.5, 1.0])
def test_the_homography_carries_image_0_onto_image_1(difficulty):
    pairs = HomographyPairs([make_photo(7, sigma=6.0)], PLAIN, seed=1)
    errors = [content_error(pairs.pair(k, difficulty)) for k in range(12)]
    assert np.median(errors) < 1.2
    assert max(errors) < 4


def test_the_homography_is_exact_to_a_small_part_of_a_pixel():
    pairs = HomographyPairs([make_photo(7, sigma=6.0)], PLAIN, seed=2)
    steps = np.array([-0.4, 0.0, 0.4])
    offsets = []
    for k in range(16):
        pair = pairs.pair(k, 0.0)
        for direction in ((1, 0), (0, 1)):
            curve = [content_error(pair, shift=s * np.array(direction)) ** 2 for s in steps]
            a, b, _ = np.polyfit(steps, curve, 2)
            offsets.append(-b / (2 * a))  # where the parabola is lowest
    assert abs(np.mean(offsets)) < 0.02
    assert np.abs(offsets).max() < 0.1


def test_the_homography_is_the_second_camera_after_the_first():
    config = HomographyConfig(**SMALL, light=NO_LIGHT, mirror_probability=0)
    pair = make_pair(PHOTOS[0], np.random.default_rng(5), 1.0, config)
    rng = np.random.default_rng(5)
    rng.random()  # the draw of the mirror
    view0, view1 = sample_views(PHOTOS[0].shape, rng, 1.0, config)
    on_photo = np.random.default_rng(0).uniform(60, 140, (20, 2))
    through0 = warp_points(view0, on_photo, signed=True)
    actual = warp_points(pair.truth.homography.astype(float), through0, signed=True)
    np.testing.assert_allclose(
        actual, warp_points(view1, on_photo, signed=True), rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize(
    ("difficulty", "angle", "turn", "scale"), [(0, 10, 10, 1.25), (1, 60, 45, 2.5)]
)
def test_views_reach_and_keep_their_ranges(monkeypatch, difficulty, angle, turn, scale):
    drawn = []
    original = cameras.view_from_photo
    monkeypatch.setattr(cameras, "view_from_photo", lambda **kw: drawn.append(kw) or original(**kw))
    for seed in range(150):
        sample_views((200, 260), np.random.default_rng(seed), difficulty, PLAIN)
    first, second = drawn[::2], drawn[1::2]
    pairs = list(zip(first, second, strict=True))
    angles = np.degrees([b["tilt"] - a["tilt"] for a, b in pairs])
    turns = np.degrees([b["roll"] - a["roll"] for a, b in pairs])
    scales = np.array([b["zoom"] / a["zoom"] for a, b in pairs])
    assert 0.9 * angle < angles.max() <= angle + 1e-9
    assert 0.9 * turn < np.abs(turns).max() <= turn + 1e-9
    assert scales.min() >= 1 / scale - 1e-9
    assert scales.max() <= scale + 1e-9
    assert np.log(scales.max() / scales.min()) > 1.6 * np.log(scale)


def test_overlap_is_as_promised_when_pixels_are_counted():
    for seed in range(60):
        pair = make_pair(PHOTOS[seed % 4], np.random.default_rng(seed), 1.0, PLAIN)
        homography = np.linalg.inv(pair.truth.homography.astype(float))
        truth = PlaneTruth(homography, pair.truth.visible1, pair.truth.visible0)
        back = PairBatch(pair.image1, pair.image0, None, None, truth)
        shares = [len(seen_in_both(p)[0]) / pair.image0.size for p in (pair, back)]
        assert max(shares) > PLAIN.min_overlap - 0.02
        assert min(shares) > PLAIN.min_overlap / 3 - 0.02


def test_a_visible_pixel_shows_the_photograph():
    # A photograph of one grey level: any other level is behind an occluder or beyond the edge.
    light = PhotometricConfig(**{**vars(NO_LIGHT), "occlusion_probability": 1})
    config = HomographyConfig(**SMALL, light=light)
    grey = np.full((150, 200), 77, np.uint8)
    foreign = 0
    for seed in range(30):
        pair = make_pair(grey, np.random.default_rng(seed), 1.0, config, PHOTOS)
        for image, visible in (
            (pair.image0, pair.truth.visible0),
            (pair.image1, pair.truth.visible1),
        ):
            assert (image[visible] == 77).all()
            foreign += np.mean(image != 77)
    assert foreign / 60 > 0.05


def test_what_one_image_sees_the_other_sees_too_unless_something_is_in_the_way():
    for seed in range(20):
        pair = make_pair(PHOTOS[0], np.random.default_rng(seed), 1.0, PLAIN)
        height, width = pair.image0.shape
        mapped = warp_points(
            pair.truth.homography.astype(float), pixels((height, width)), signed=True
        )
        x, y = np.rint(mapped).T
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        there = pair.truth.visible1[y[inside].astype(int), x[inside].astype(int)]
        agree = there == pair.truth.visible0.ravel()[inside]
        assert agree.mean() > 0.97  # all but the pixels cut by the photograph's edge


@pytest.mark.parametrize("name", ["cloud_probability", "skyline_probability"])
def test_clouds_are_not_visible_and_the_rest_stays_where_it_is(name):
    photo = make_photo(0, sigma=1.5) // 3
    if name == "cloud_probability":
        photo[:90] = 200  # a sky to be found
    config = HomographyConfig(**SMALL, light=NO_LIGHT, **{name: 1.0})
    hidden, errors = [], []
    for seed in range(20):
        pair = make_pair(photo, np.random.default_rng(seed), 0.3, config)
        hidden.append(1 - pair.truth.visible0.mean())
        errors.append(content_error(pair) if len(seen_in_both(pair)[0]) else 0.0)
    assert 0.15 < np.mean(hidden) < 0.8  # without clouds: 0.05, beyond the edge
    assert np.median(errors) < 4


def test_a_pair_depends_on_seed_index_and_difficulty_alone():
    config = HomographyConfig(**SMALL)
    ahead = HomographyPairs(PHOTOS, config, seed=3)
    for k in range(5):
        ahead.pair(k, 0.5)
    alone = HomographyPairs(PHOTOS, config, seed=3)
    jax.tree.map(np.testing.assert_array_equal, ahead.pair(7, 0.5), alone.pair(7, 0.5))
    for other in (ahead.pair(8, 0.5), HomographyPairs(PHOTOS, config, seed=4).pair(7, 0.5)):
        assert not np.array_equal(other.truth.homography, ahead.pair(7, 0.5).truth.homography)


def test_pairs_stack_into_a_batch():
    pairs = HomographyPairs(PHOTOS, HomographyConfig(**SMALL), seed=3)
    batch = pairs.stack(range(4, 7), 0.5)
    assert batch.image0.shape == (3, 96, 128)
    assert batch.truth.homography.dtype == np.float32
    jax.tree.map(np.testing.assert_array_equal, batch[1], pairs.pair(5, 0.5))


@pytest.mark.parametrize("size", [(16, 16), (16, 400), (400, 30), (96, 128), (900, 700)])
def test_photographs_of_any_shape_give_pairs(size):
    for seed in range(5):
        pair = make_pair(make_photo(0, size), np.random.default_rng(seed), 1.0, PLAIN)
        assert pair.image0.shape == (96, 128)
        assert len(seen_in_both(pair)[0]) > 0.08 * pair.image0.size


def test_nonsense_is_refused_with_a_reason():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="uint8 grey"):
        make_pair(np.zeros((50, 50, 3), np.uint8), rng, 0.5, PLAIN)
    with pytest.raises(ValueError, match="difficulty"):
        make_pair(PHOTOS[0], rng, 1.5, PLAIN)
    with pytest.raises(ValueError, match="at least one photograph"):
        HomographyPairs([], PLAIN, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"height": 8},
        {"max_view_angle": 85},
        {"easy_rotation": 90},
        {"min_scale": 0.9},
        {"min_zoom": 2.0},
        {"min_overlap": 0.9},
        {"max_depth_range": 1.0},
        {"mirror_probability": 2.0},
        {"cloud_probability": -0.1},
        {"skyline_probability": 1.1},
    ],
)
def test_a_config_refuses_nonsense(change):
    with pytest.raises(ValueError, match="got"):
        HomographyConfig(**change)


def test_the_contact_sheet_is_drawn(tmp_path):
    for k, photo in enumerate(PHOTOS):
        cv2.imwrite(str(tmp_path / f"{k}.png"), photo)
    out = tmp_path / "sheet.png"
    arguments = ["--photos", str(tmp_path), "--out", str(out), "--rows", "2", "--columns", "1"]
    assert astr(["data", "sheet", *arguments]) == 0
    sheet = cv2.imread(str(out))
    assert sheet.shape == (480, 640, 3)
    assert (sheet[..., 0] != sheet[..., 1]).mean() > 0.001  # the lines are in colour


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--photos": "nowhere"}, "nowhere is not a folder"),
        ({"--out": "sheet.txt"}, "must end in .bmp, .jpeg, .jpg, .png"),
        ({"--out": "nowhere/sheet.png"}, "cannot be written"),
        ({"--rows": "0"}, "must be positive"),
        ({"--difficulty": "2"}, "difficulty must be in [0, 1]"),
    ],
)
def test_the_contact_sheet_says_what_is_wrong_in_one_line(
    tmp_path, monkeypatch, capfd, changes, message
):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("photo.png", PHOTOS[0])
    options = {"--photos": ".", "--out": "sheet.png", "--rows": "1", "--columns": "1"} | changes
    words = [word for pair in options.items() for word in pair]
    assert astr(["data", "sheet", *words]) == 2
    assert message in capfd.readouterr().err.splitlines()[-1]
