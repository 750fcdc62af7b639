"""Timing: the order of calls, what is told apart, and that the stages are those of a match."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pictures import darker, picture

import astr_jax
from astr_jax.instruments.timing import (
    DEFAULT,
    FINE,
    POLISH,
    REFINE,
    WHOLE,
    Seconds,
    Timing,
    compiled_anew,
    in_turns,
    longer,
    match_tasks,
    matched_at,
)
from astr_jax.params import Calibration, Params, fold_params


def timing(*walls):
    """Calls of so many seconds by the clock, and of a tenth of it of CPU time."""
    first, *runs = (Seconds(wall, wall / 10) for wall in walls)
    return Timing(first, tuple(runs))


def test_tasks_are_called_in_turns_and_the_first_round_is_no_run():
    called = []
    tasks = {name: (lambda name=name: called.append(name)) for name in "abc"}
    found = in_turns(tasks, 2)
    assert called == list("abc" * 3)
    assert list(found) == list("abc")
    assert all(len(found[name].runs) == 2 for name in "abc")


def test_medians_leave_the_first_call_out_and_it_tells_of_compiling():
    found = timing(9, 1, 3, 2)
    assert found.median == Seconds(2, 0.2)
    assert found.compiling == 7
    assert timing(1, 2).compiling == 0


def test_what_takes_longer_is_told_round_by_round():
    found = longer(timing(0, 5, 9, 7), timing(0, 4, 6, 5))
    assert (found.wall, found.cpu) == pytest.approx((2, 0.2))


@pytest.fixture(scope="module")
def params(nano_config, nano_variables):
    return fold_params(Params(nano_variables, nano_config, Calibration(threshold=0.0)))


def test_the_stages_are_those_of_a_match(params):
    image = picture(48, 64)
    pair = image, darker(image)
    tasks = match_tasks(params, *pair)
    assert list(tasks) == [*WHOLE, "encode", "first look", "coarse", REFINE, FINE, POLISH]
    for name in (DEFAULT, "encode", "first look", "coarse", FINE):
        jax.block_until_ready(tasks[name]())
    assert np.asarray(tasks["scales=1"]()).sum() > 0
    whole = astr_jax.match(params, *pair, resize=64, scales=1, polish="all").valid
    for name in (REFINE, POLISH):
        np.testing.assert_array_equal(tasks[name](), whole)
    assert whole.sum() > 0
    scales, matches = matched_at(params, *pair)
    assert matches == np.asarray(tasks[DEFAULT]()).sum()
    assert tasks["first look"]()[1] == scales


def test_programs_are_compiled_anew_and_kept_until_the_end():
    before = jax.config.jax_compilation_cache_dir
    x = jnp.arange(3.0)
    with compiled_anew() as folder:
        assert jax.config.jax_compilation_cache_dir == str(folder)
        jax.jit(lambda x: x * 2 + 1)(x).block_until_ready()
        assert any(folder.iterdir())
    assert not folder.exists()
    assert jax.config.jax_compilation_cache_dir == before
