"""What the spots hold, where it is known: both images the same."""

import numpy as np
import pytest

from astr_jax.cli import main as astr
from astr_jax.evaluation.studies.spots import spot_statistics
from astr_jax.params import Params
from astr_jax.supervision import PairBatch, PlaneTruth


def same_image_twice(shape):
    image = np.random.default_rng(0).integers(0, 256, (1, *shape), dtype=np.uint8)
    visible = np.ones((1, *shape), bool)
    truth = PlaneTruth(np.eye(3, dtype=np.float32)[None], visible, visible)
    return PairBatch(image, image, None, None, truth)


def test_of_an_image_with_itself_the_spots_hold_the_true_cells(micro_config, micro_variables):
    blocks = spot_statistics(Params(micro_variables, micro_config), [same_image_twice((96, 128))])
    assert len(blocks) == micro_config.aggregation.blocks
    for block in blocks:
        assert block.recall > 0.9
        assert 9 <= block.cells <= 125  # a corner's own window, five windows apart
        assert 0 <= block.listed_once < 0.5
        assert block.inflation > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "nowhere", "--photos", "."], "nowhere is neither shipped weights"),
        (["--photos", ".", "--pairs", "0"], "--pairs must be positive"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(capsys, arguments, message):
    assert astr(["eval", "spots", *arguments]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
