"""Points followed through several images: stars that settle, and the choice among them."""

import functools

import numpy as np
import pytest
from PIL import Image

from astr_jax.geometry import warp_points
from astr_jax.reconstruction.pictures import make_picture
from astr_jax.reconstruction.seeds import find_seeds
from astr_jax.reconstruction.stars import PairMatches, StarOptions, grow_stars
from astr_jax.reconstruction.tracks import Tracks, choose_tracks, joined, read_tracks, write_tracks

SIZE, OPTIONS = 128, StarOptions(resize=128, polish_size=192, most_sigma=0.3)
MAPS = [  # from pixels of image 0
    np.eye(3),
    np.array([[1.05, 0.08, -4.3], [-0.06, 0.97, 6.2], [0, 0, 1]]),
    np.array([[0.96, -0.1, 9.7], [0.12, 1.02, -5.4], [0, 0, 1]]),
]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """One texture under the three maps, 192 pixels wide: larger than they are matched at."""
    rng, folder = np.random.default_rng(3), tmp_path_factory.mktemp("images")
    waves = rng.normal(0, 0.25, (40, 2)), rng.uniform(0, 7, 40)
    y, x = np.mgrid[:160, :192]
    pixels = np.stack([x, y], axis=-1).reshape(-1, 2).astype(float)
    paths = []
    for number, homography in enumerate(MAPS):
        there = warp_points(np.linalg.inv(homography), pixels)
        grey = np.cos(there @ waves[0].T + waves[1]).sum(axis=1).reshape(160, 192)
        path = folder / f"{number}.png"
        Image.fromarray(np.clip(128 + 14 * grey, 0, 255).astype(np.uint8)).save(path)
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def stars(images):
    """Grown from matches on a lattice of image 0, true to half a pixel, in either direction."""
    rng = np.random.default_rng(5)
    picture_of = functools.cache(lambda n: make_picture(images[n], resize=128, polish_size=192))
    lattice = np.stack(np.meshgrid(np.arange(0, 192, 12), np.arange(0, 160, 12)), -1)
    own = lattice.reshape(-1, 2).astype(float)
    pairs = {}
    for partner in (1, 2):
        others = warp_points(MAPS[partner], own) + rng.uniform(-0.5, 0.5, own.shape)
        inside = ((others >= 0) & (others <= [191, 159])).all(axis=1)
        pairs[partner] = own[inside], others[inside]
    forth = [PairMatches(partner, *pairs[partner]) for partner in (1, 2)]
    return [
        grow_stars(0, forth, picture_of, OPTIONS),
        *(grow_stars(n, [PairMatches(0, *pairs[n][::-1])], picture_of, OPTIONS) for n in (1, 2)),
    ]


@pytest.mark.parametrize("reference", [0, 1, 2])
def test_observations_of_a_star_mean_one_point(stars, reference):
    star = stars[reference]
    assert star.count > 60
    own = star.image == reference
    np.testing.assert_array_equal(star.sigma == 0, own)
    start = dict(zip(star.track[own], star.points[own], strict=True))
    for image in set(star.image) - {reference}:
        rows = star.image == image
        here = np.array([start[track] for track in star.track[rows]])
        true = warp_points(MAPS[image] @ np.linalg.inv(MAPS[reference]), here)
        errors = np.linalg.norm(star.points[rows] - true, axis=1)
        assert np.median(errors) < 0.05  # the matches were off by up to 0.7
        assert np.percentile(errors, 95) < 0.2


def test_an_image_is_in_a_track_once_and_no_track_is_of_one_image(stars):
    tracks = joined("abc", stars)
    pairs = np.stack([tracks.track, tracks.image], axis=1)
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    assert np.bincount(tracks.track).min() >= 2
    assert tracks.count == sum(star.count for star in stars)


def test_of_stars_that_show_the_same_the_longest_are_chosen(stars):
    chosen = choose_tracks("abc", stars, np.full(3, 12.0))
    whole = joined("abc", stars)
    assert chosen.count < 0.7 * whole.count
    longest = (np.bincount(whole.track) == 3).sum()
    assert (np.bincount(chosen.track) == 3).sum() > 0.5 * longest  # those that share no cells
    assert chosen.mean_length > whole.mean_length


def test_tracks_of_different_places_are_all_chosen():
    far = Tracks(
        (), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.eye(4)[:, :2] * 90, np.ones(4)
    )
    assert choose_tracks("ab", [far], np.full(2, 8.0)).count == 2
    assert choose_tracks("ab", [], np.full(2, 8.0)).count == 0


def test_of_parts_one_after_the_other_the_right_tracks_are_chosen():
    image, there = np.array([0, 1, 0, 1]), np.repeat([[0.0, 90], [90, 0]], 2, axis=0)
    first = Tracks((), np.array([0, 0, 1, 1]), image, there, np.ones(4))
    last = Tracks((), np.zeros(2, int), image[:2], np.full((2, 2), 500.0), np.ones(2))
    chosen = choose_tracks("ab", [first, first, last], np.full(2, 8.0))  # the second is no news
    assert chosen.track.tolist() == [0, 0, 1, 1, 2, 2]
    np.testing.assert_array_equal(chosen.points[:, 0], [0, 0, 90, 90, 500, 500])


def test_seeds_are_corners_of_their_own_cells():
    from astr_jax.images import prepare

    image = np.zeros((96, 96), np.float32)
    image[40:, 44:] = 1.0  # one corner, between pixels 39 and 40, 43 and 44
    seeds = find_seeds(prepare(image, None, resize=96, name="image"), 96)
    np.testing.assert_array_less(np.abs(seeds.points[seeds.strength.argmax()] - [43.5, 39.5]), 2)
    cells = np.floor((seeds.points + 4) / 8)
    assert len(np.unique(cells, axis=0)) == len(cells) == 12 * 12


def test_written_tracks_are_read_back_with_their_stamp(stars, tmp_path):
    tracks = joined(["a.jpg", "ü b.jpg", "c.jpg"], stars)
    write_tracks(tmp_path / "tracks.safetensors", tracks, stamp="x")
    found, stamp = read_tracks(tmp_path / "tracks.safetensors")
    assert (stamp, found.names) == ("x", tracks.names)
    np.testing.assert_array_equal(found.track, tracks.track)
    np.testing.assert_array_equal(found.image, tracks.image)
    np.testing.assert_allclose(found.points, tracks.points, atol=1e-4)
