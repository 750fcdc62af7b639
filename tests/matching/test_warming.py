"""Compiling ahead: after it a match asks for no other program."""

import functools
import itertools
import re

import jax
import numpy as np
import pytest
from pictures import darker, picture

import astr_jax
from astr_jax.cli import main
from astr_jax.compiled import VARIABLE
from astr_jax.matching import Matcher, MatchOptions, programs
from astr_jax.matching.matcher import ALL
from astr_jax.matching.warming import programs_to_warm
from astr_jax.params import Calibration, Params, fold_params, save_params

RESIZE = 256  # the canvases 256 x 192 and 256 x 256, halved 128 x 96 and 128 x 128
K = np.array([[200.0, 0, 128], [0, 200, 96], [0, 0, 1]])


@pytest.fixture(scope="module")
def params(nano_config, nano_variables):
    return fold_params(Params(nano_variables, nano_config, Calibration(threshold=0.0)))


class Traced:
    """Stands in for the compiled programs: it traces them, returns zeros, and notes each by its
    name, its static arguments and the shapes and types of the others."""

    def __init__(self, monkeypatch):
        self.count = 0  # of coarse matches, to be found in each pair
        self.outputs = {}
        for name in ("run_encode", "run_coarse", "run_look", "run_fine", "run_polish"):
            program = functools.partial(self.run, name, getattr(programs, name))
            monkeypatch.setattr(programs, name, program)

    def run(self, name, program, *args, **static):
        leaves, tree = jax.tree.flatten(args)
        key = name, tuple(map(str, map(jax.typeof, leaves))), tree, tuple(sorted(static.items()))
        if key not in self.outputs:
            self.outputs[key] = jax.eval_shape(functools.partial(program, **static), *args)
        found = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), self.outputs[key])
        return (*found[:-1], self.count) if name == "run_coarse" else found


@pytest.fixture
def traced(monkeypatch):
    return Traced(monkeypatch)


def warm(params, K=None, **options):
    for _, compile_it in programs_to_warm(
        Matcher(params, MatchOptions(resize=RESIZE, **options)), K
    ):
        compile_it()


def test_after_it_a_match_asks_for_no_other_program(params, traced):
    warm(params)
    asked = set(traced.outputs)
    assert len(asked) == 22  # two fewer than at 640: a quarter of the size has one canvas alone
    wide, square = picture(150, 256), picture(200, 200)
    for img0, img1 in itertools.product((wide, square, np.ascontiguousarray(wide.T)), repeat=2):
        for scales, traced.count in itertools.product(("auto", 2, 0.5), (0, ALL)):
            astr_jax.match(params, img0, img1, resize=RESIZE, scales=scales)
    assert set(traced.outputs) == asked


def test_cameras_need_programs_of_their_own(params, traced):
    warm(params, scales=1)
    without = set(traced.outputs)
    warm(params, K, scales=1)
    asked = set(traced.outputs)
    astr_jax.match(params, *[picture(150, 256)] * 2, resize=RESIZE, scales=1, K0=K, K1=K)
    assert set(traced.outputs) == asked > without


def test_of_fixed_scales_only_these_are_compiled(params):
    names = [n for n, _ in programs_to_warm(Matcher(params, MatchOptions(resize=RESIZE, scales=1)))]
    assert len(names) == 2  # of each canvas
    assert all("scale 1" in name for name in names)


def test_it_runs_the_programs_that_a_match_runs(params):
    stages = programs.run_encode, programs.run_coarse, programs.run_fine, programs.run_polish
    for _, compile_it in programs_to_warm(Matcher(params, MatchOptions(resize=96, scales=1))):
        compile_it()
    sizes = [stage._cache_size() for stage in stages]
    image = picture(64, 96)
    astr_jax.match(params, image, darker(image), resize=96, scales=1)
    assert [stage._cache_size() for stage in stages] == sizes


@pytest.mark.usefixtures("traced")
def test_the_command_says_how_many_and_where(params, tmp_path, capsys):
    save_params(tmp_path / "micro.safetensors", params)
    assert main(["warm", "--weights", str(tmp_path / "micro.safetensors"), "--resize", "64"]) == 0
    out = capsys.readouterr().out
    folder = jax.config.jax_compilation_cache_dir
    assert re.search(rf"\d+ programs, \d+ of them new, in \d+ s; kept in {folder}", out)


def test_the_command_refuses_where_nothing_is_kept(monkeypatch, capsys):
    folder = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv(VARIABLE, "off")
    try:
        assert main(["warm"]) == 2
    finally:
        jax.config.update("jax_compilation_cache_dir", folder)
    assert "nothing is kept: ASTR_JAX_CACHE or" in capsys.readouterr().err
