import pytest

from astr_jax.matching.first_look import Look, planned
from astr_jax.matching.options import MatchOptions
from astr_jax.matching.turns import BETWEEN, LEAST, QUARTERS, SURE, SURER, chosen_turn


class Looks:
    """Stands for the first look: knows what each turn and scale gives, and what it was asked."""

    def __init__(self, **agreeing):
        self.agreeing = dict.fromkeys(QUARTERS + BETWEEN, 0.0)
        self.agreeing |= {float(t[1:].replace("_", ".")): a for t, a in agreeing.items()}
        self.asked = []

    def __call__(self, turn, scale):
        self.asked.append((turn, scale))
        return Look(sure=1.0 if scale == 1 else 0.1, agreeing=self.agreeing[turn])


def test_where_images_agree_as_they_lie_no_other_turn_is_looked_at():
    looks = Looks(t0=1.1 * SURE)
    assert planned(looks, upright="auto", scales=None) == (0, (1.0,))
    assert {turn for turn, _ in looks.asked} == {0}


def test_where_they_hardly_agree_another_turn_is_taken_if_it_is_far_better():
    looks = Looks(t0=0.9 * SURE, t1=0.0, t2=2.2 * SURE, t3=0.01)
    assert planned(looks, upright="auto", scales=None) == (2, (1.0,))
    first = [(turn, scale) for turn, scale in looks.asked if turn in (1, 3)]
    assert first == [(1, 1.0), (3, 1.0)]  # at one scale alone
    assert {scale for turn, scale in looks.asked if turn == 2} == {1.0, 2.0, 0.5}


def test_turns_between_two_quarters_are_looked_at_where_no_quarter_turn_agrees():
    looks = Looks(t0=0.2 * SURE, t1_5=0.8 * SURE)
    assert planned(looks, upright="auto", scales=None) == (1.5, (1.0,))
    looks = Looks(t0=0.2 * SURE, t1=1.1 * SURE, t1_5=2 * SURE)
    assert planned(looks, upright="auto", scales=None) == (1, (1.0,))
    assert {turn for turn, _ in looks.asked} == set(QUARTERS)


@pytest.mark.parametrize(
    ("agreement", "turn"),
    [
        ({0: 0.0, 1: 0.9 * LEAST}, 0),  # as of pictures with nothing in common
        ({0: 0.0, 1: 1.1 * LEAST}, 1),
        ({0: 0.9 * SURE, 3: 0.9 * SURER * 0.9 * SURE}, 0),
        ({0: 0.9 * SURE, 3: 1.1 * SURER * 0.9 * SURE}, 3),
    ],
)
def test_another_turn_must_be_far_better_unless_all_are_asked_for(agreement, turn):
    assert chosen_turn(agreement, upright="auto") == turn
    assert chosen_turn(agreement, upright=False) == max(agreement, key=agreement.get)


def test_all_turns_and_scales_are_looked_at_where_neither_is_known():
    looks = Looks(t0=2 * SURE, t1=0.0, t2=0.0, t3=2.1 * SURE)
    assert planned(looks, upright=False, scales=None) == (3, (1.0,))
    assert len(looks.asked) == 12


def test_with_one_side_up_and_a_scale_given_the_plan_is_that_scale():
    looks = Looks(t0=0.0)
    assert planned(looks, upright=True, scales=(2.0,)) == (0, (2.0,))


@pytest.mark.parametrize("upright", ["yes", None, 2])
def test_other_words_for_which_side_is_up_are_refused(upright):
    with pytest.raises(ValueError, match=r'upright must be "auto", True or False; got'):
        MatchOptions(upright=upright)
