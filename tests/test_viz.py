"""Pictures: everything is drawn at its place, and what is not drawn is said."""

import io

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from PIL import Image

from astr_jax.config import BackboneConfig, FineConfig, ModelConfig
from astr_jax.instruments.attention_maps import AttentionMaps
from astr_jax.types import Matches
from astr_jax.viz import CellFrame, draw_attention, draw_grids, draw_matches, panels, pixels_of
from astr_jax.viz.grids import grid_samples

LEFT, RIGHT = np.full((48, 64, 3), 90, np.uint8), np.full((96, 64), 160, np.uint8)


def some_matches(k, padding=0):
    """k matches with points all over both images, and rows of padding."""
    rng = np.random.default_rng(0)

    def rows(values, empty=0):
        return np.concatenate([values, np.full((padding, *values.shape[1:]), empty, values.dtype)])

    cells = rng.permutation(max(48, k))[:k] % 48
    return Matches(
        keypoints0=rows(np.stack([cells % 8 * 8.0, cells // 8 * 8.0], -1)),
        keypoints1=rows(rng.uniform(0, [63, 95], (k, 2))),
        confidence=rows(np.sort(rng.uniform(0.2, 1, k))[::-1]),
        covariance=rows(np.tile(np.eye(2), (k, 1, 1))),
        scale=rows(2.0 ** rng.uniform(-3, 3, k)),
        cell0=rows(cells, -1),
        cell1=rows(rng.integers(0, 8 * 12, k), -1),
        valid=rows(np.ones(k, bool), False),
    )


def rendered(figure):
    """The figure's pixels, grey."""
    file = io.BytesIO()
    figure.savefig(file, format="png", facecolor=figure.get_facecolor())
    return np.asarray(Image.open(file).convert("L"))


def lines(figure):
    (found,) = (c for c in figure.axes[0].collections if isinstance(c, LineCollection))
    return np.array(found.get_segments())


def words(figure):
    return " ".join(text.get_text() for text in figure.texts)


def test_lines_join_the_points_of_both_images():
    matches = some_matches(6, padding=3)
    ends = lines(draw_matches(LEFT, RIGHT, matches))
    assert len(ends) == 6
    ends = ends[np.argsort(ends[:, 0] @ [1, 1000])]
    rows = np.argsort(matches.keypoints0[:6] @ [1, 1000])
    np.testing.assert_allclose(ends[:, 0], matches.keypoints0[rows])
    # The right image is shown at half its size, so that both are equally tall.
    shift = ends[:, 1] - matches.keypoints1[rows] / 2
    np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=1e-9)
    assert shift[0, 0] >= 64


def test_with_many_matches_some_lines_are_drawn_and_it_is_said():
    figure = draw_matches(LEFT, RIGHT, some_matches(3000), max_lines=50)
    assert len(lines(figure)) == 50
    assert "3,000 matches" in words(figure)
    assert "lines for 50 of 3,000" in words(figure)
    dots = [c for c in figure.axes[0].collections if isinstance(c, PathCollection)]
    assert [len(d.get_offsets()) for d in dots] == [3000, 3000]


def test_wrong_matches_are_drawn_last_so_that_right_ones_do_not_hide_them():
    matches = some_matches(20)
    error = np.random.default_rng(1).permutation(20).astype(float)
    ends = lines(draw_matches(LEFT, RIGHT, matches, error=error))
    np.testing.assert_allclose(ends[:, 0], matches.keypoints0[np.argsort(error)])


def test_no_matches_still_give_a_picture():
    figure = draw_matches(LEFT, RIGHT, some_matches(0, padding=4))
    assert "0 matches" in words(figure)
    assert rendered(figure).std() > 5
    assert rendered(draw_matches(LEFT, RIGHT, some_matches(1))).std() > 5


def test_one_error_a_match_is_needed():
    with pytest.raises(ValueError, match="one value a match"):
        draw_matches(LEFT, RIGHT, some_matches(4), error=np.zeros(3))


@pytest.mark.parametrize(
    "image",
    [LEFT, LEFT[..., :1], LEFT[..., 0], LEFT / 255, Image.fromarray(LEFT), np.zeros((1, 1))],
)
def test_every_form_of_an_image_is_drawn(image):
    assert rendered(draw_matches(image, RIGHT, some_matches(3))).std() > 5


def test_an_image_with_odd_channels_is_refused():
    with pytest.raises(ValueError, match=r"\[H W c\].*got \(3, 48, 64\).*transpose\(1, 2, 0\)"):
        draw_matches(np.moveaxis(LEFT, -1, 0), RIGHT, some_matches(3))


def test_frames_turn_cells_into_pixels_as_given():
    frame = CellFrame(width=10, scale=(2.0, 3.0))
    np.testing.assert_array_equal(frame.working_centres(np.array([0, 23])), [[0, 0], [24, 16]])
    np.testing.assert_allclose(frame.given(np.array([[24, 16]])), [[24.5 * 2 - 0.5, 49.0]])
    # Cell 0 at stride 8 is centred on pixel 0 and reaches 4 pixels to each side.
    left, right, bottom, top = frame.extent((2, 5), 8)
    assert (left, top) == (-3.5 * 2 - 0.5, -3.5 * 3 - 0.5)
    assert (right - left, bottom - top) == (5 * 8 * 2, 2 * 8 * 3)


def test_grids_are_sampled_where_the_fine_stage_samples():
    config = ModelConfig(
        backbone=BackboneConfig(fine_stride=4),
        fine=FineConfig(window=5, head_dim=28, max_ratio=4.0),
    )
    frame = CellFrame(width=8, scale=(1.0, 1.0))
    growth = np.array([0.5, 1.0, 2.0, 9.0])  # clipped to 1 and to 4
    samples = grid_samples(np.full(4, 8 * 3 + 5), growth, config, frame)
    for sample, size in zip(samples, (5, 5, 10, 20), strict=True):
        # (-2..2) s / 5 fine cells of 4 pixels about the centre of cell (5, 3), row by row.
        line = np.arange(-2, 3) * size / 5 * 4
        expected = np.stack(np.meshgrid(40 + line, 24 + line), -1).reshape(-1, 2)
        np.testing.assert_allclose(sample, expected)


def test_a_few_grids_far_apart_are_drawn():
    matches = some_matches(40, padding=2)
    frames = {"frame0": CellFrame(8, (1.0, 1.0)), "frame1": CellFrame(8, (1.0, 1.0))}
    figure = draw_grids(LEFT, RIGHT, matches, ModelConfig(), count=5, **frames)
    assert "5 of 40 matches" in words(figure)
    assert rendered(figure).std() > 5
    empty = draw_grids(LEFT, RIGHT, some_matches(0), ModelConfig(), **frames)
    assert "0 of 0" in words(empty)
    assert rendered(empty).std() > 5


@pytest.mark.parametrize("shape", [(48, 64), (96, 48)])
def test_attention_has_four_panels_and_an_outline_around_the_spot(shape):
    grid = np.zeros((6, 8), bool)
    grid[2:4, 3:6] = True
    maps = AttentionMaps(
        query=np.array([24.0, 16.0]),
        vanilla=np.full((2, 2), 0.25),
        everywhere=np.full((6, 8), 1 / 48),
        spot=grid / 6,
        area=grid,
    )
    frame = CellFrame(8, (1.0, 1.0))
    image = np.full(shape, 100, np.uint8)
    figure = draw_attention(image, image, maps, frame0=frame, frame1=frame)
    assert len(figure.axes) == 4
    assert "12% of it inside" in words(figure)
    assert "6 cells" in words(figure)
    edges = np.array(figure.axes[-1].collections[0].get_segments())
    assert len(edges) == 2 * (2 + 3)
    assert edges.reshape(-1, 2).min(axis=0).tolist() == [3 * 8 - 4, 2 * 8 - 4]
    assert edges.reshape(-1, 2).max(axis=0).tolist() == [6 * 8 - 4, 4 * 8 - 4]
    assert rendered(figure).std() > 5


def test_attention_of_nothing_is_drawn_without_a_spot():
    maps = AttentionMaps(
        query=np.zeros(2),
        vanilla=np.zeros((2, 2)),
        everywhere=np.zeros((6, 8)),
        spot=np.zeros((6, 8)),
        area=np.zeros((6, 8), bool),
    )
    frame = CellFrame(8, (1.0, 1.0))
    figure = draw_attention(LEFT, LEFT, maps, frame0=frame, frame1=frame)
    assert rendered(figure).std() > 5


def test_with_a_limit_matches_are_right_or_wrong_and_nothing_between():
    matches = some_matches(6)
    error = np.array([0.0, 2.9, 3.1, 50.0, np.inf, 1.0])
    figure = draw_matches(LEFT, RIGHT, matches, error=error, right=3.0)
    dots = [c for c in figure.axes[0].collections if isinstance(c, PathCollection)]
    green, red = panels.ERROR([0.0, 1.0])
    for side in dots:
        expected = np.where((error <= 3)[:, None], green, red)
        np.testing.assert_allclose(side.get_facecolors()[:, :3], expected[:, :3], atol=1e-6)


def test_a_figure_becomes_the_pixels_that_its_file_would_have():
    figure = draw_matches(LEFT, RIGHT, some_matches(6))
    pixels = pixels_of(figure)
    assert pixels.dtype == np.uint8
    file = io.BytesIO()
    figure.savefig(file, format="png", facecolor=figure.get_facecolor())
    np.testing.assert_array_equal(pixels, np.asarray(Image.open(file).convert("RGB")))
