"""The first look: at which turn of image 1, and at which scales, a pair is worth matching.

It is coarse, and at half the size. What it says of a turn and a scale is a Look; `planned` asks for
as few as it needs.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from astr_jax.matching.scales import AUTO, FIRST_SCALES, chosen_scales, further_scales
from astr_jax.matching.turns import BETWEEN, QUARTERS, SURE, chosen_turn


class Look(NamedTuple):
    """What the first look says of a pair at one turn and one scale."""

    sure: float  # sum of a power of the confidences
    agreeing: float  # the same of matches that agree with their neighbours, a cell at scale 1


class Glance(NamedTuple):
    """What the first look makes of a pair."""

    turn: float  # of image 1, quarters
    scales: tuple[float, ...]  # to match at, the surest first
    agreeing: float  # share of the cells that keep together, at the best turn and scale looked at


def planned(
    look: Callable[[float, float], Look], *, upright: object, scales: tuple[float, ...] | None
) -> tuple[float, tuple[float, ...]]:
    """The turn of image 1, and the scales to match at, the surest first.

    look(turn, scale) looks. upright, scales: as in MatchOptions; None for scales="auto". Where
    upright is "auto", quarter turns are looked at only if the matches of the images as they lie
    hardly agree. Those between two quarters follow where no quarter turn agrees well.
    """
    asked = scales or FIRST_SCALES
    seen = {0: {scale: look(0, scale) for scale in asked}}
    if upright is False or (upright == AUTO and max(map(agreeing_most, seen.values())) < SURE):
        tried = asked if upright is False else asked[:1]
        seen |= {turn: {scale: look(turn, scale) for scale in tried} for turn in QUARTERS[1:]}
        if max(map(agreeing_most, seen.values())) < SURE:
            seen |= {turn: {asked[0]: look(turn, asked[0])} for turn in BETWEEN}
    agreement = {turn: agreeing_most(looks) for turn, looks in seen.items()}
    turn = chosen_turn(agreement, upright=upright)
    if scales:
        return turn, scales
    looks = {scale: seen[turn].get(scale) or look(turn, scale) for scale in asked}
    sure = {scale: found.sure for scale, found in looks.items()}
    sure |= {scale: look(turn, scale).sure for scale in further_scales(sure)}
    return turn, chosen_scales(sure)


def glanced(
    look: Callable[[float, float], Look], *, upright: object, scales: tuple[float, ...] | None
) -> Glance:
    """planned, and how well the best of all that was looked at agrees."""
    looks = []

    def noted(turn: float, scale: float) -> Look:
        looks.append(look(turn, scale))
        return looks[-1]

    turn, chosen = planned(noted, upright=upright, scales=scales)
    return Glance(turn, chosen, max(look.agreeing for look in looks))


def agreeing_most(looks: Mapping[float, Look]) -> float:
    """Of the scale whose matches agree most."""
    return max(look.agreeing for look in looks.values())
