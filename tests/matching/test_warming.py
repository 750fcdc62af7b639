"""Compiling ahead: after it a match compiles nothing."""

import jax
import numpy as np
import pytest
from pictures import darker, picture

import astr_jax
from astr_jax.cli import main
from astr_jax.compiled import VARIABLE
from astr_jax.matching import Matcher, MatchOptions, programs
from astr_jax.matching.warming import programs_to_warm
from astr_jax.params import Calibration, Params, fold_params

RESIZE = 96
STAGES = programs.run_encode, programs.run_coarse, programs.run_fine, programs.run_look


@pytest.fixture(scope="module")
def params(micro_config, micro_variables):
    return fold_params(Params(micro_variables, micro_config, Calibration(threshold=0.0)))


def test_after_it_no_match_compiles_anything(params):
    for _, compile_it in programs_to_warm(Matcher(params, MatchOptions(resize=RESIZE))):
        compile_it()
    sizes = [stage._cache_size() for stage in STAGES]
    wide, tall = picture(64, 96), np.ascontiguousarray(picture(64, 96).T)
    for pair in ((wide, darker(wide)), (wide, tall), (tall, wide), (picture(90, 90), tall)):
        for scales in ("auto", 1, 2):
            for threshold in (0.0, 0.9):
                astr_jax.match(params, *pair, resize=RESIZE, scales=scales, threshold=threshold)
    assert [stage._cache_size() for stage in STAGES] == sizes


def test_of_fixed_scales_only_these_are_compiled(params):
    names = [n for n, _ in programs_to_warm(Matcher(params, MatchOptions(resize=RESIZE, scales=1)))]
    assert len(names) == 2  # of each canvas
    assert all("scale 1" in name for name in names)


def test_the_command_refuses_where_nothing_is_kept(monkeypatch, capsys):
    folder = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv(VARIABLE, "off")
    try:
        assert main(["warm"]) == 2
    finally:
        jax.config.update("jax_compilation_cache_dir", folder)
    assert "nothing is kept: ASTR_JAX_CACHE switches it off" in capsys.readouterr().err
