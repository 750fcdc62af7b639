"""Growth: every line is drawn, and what is not known is not."""

import numpy as np

from astr_jax.viz import pixels_of
from astr_jax.viz.growth import draw_growth


def test_lines_are_drawn_where_they_are_known():
    lines = {"a": [1.0, 4.0], "b": [None, 2.0], "c": [None, -1.0]}
    figure = draw_growth([10.0, 40.0], ["small", "large"], {("times", "s"): lines})
    (axes,) = figure.axes
    drawn = {line.get_label(): line.get_xydata() for line in axes.lines}
    assert set(drawn) == {"a", "b", "as the pixels"}
    np.testing.assert_array_equal(drawn["a"], [[10, 1], [40, 4]])
    np.testing.assert_array_equal(drawn["b"], [[40, 2]])
    steps = np.log(drawn["as the pixels"])
    np.testing.assert_allclose(*(steps[1] - steps[0]))  # a slope of one
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["small", "large"]
    assert pixels_of(figure).std() > 5


def test_nothing_known_is_an_empty_pane():
    figure = draw_growth([10.0], ["one"], {("memory", "MiB"): {"process": [None]}})
    assert not figure.axes[0].lines
    assert pixels_of(figure).size
