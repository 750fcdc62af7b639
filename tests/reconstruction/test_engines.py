"""Engines of bulk matching: the same files by any number of workers, and nothing lost with one."""

import importlib.util
import os
import sys

import numpy as np
import pytest
from pictures import picture
from PIL import Image
from reconstruction.invented_work import WORLD, InventedWork

from astr_jax.cli import main
from astr_jax.matching import Matcher, MatchOptions
from astr_jax.params import Params, load_params, save_params
from astr_jax.reconstruction.bulk import match_pairs
from astr_jax.reconstruction.engines import Engine, Work, match_spread
from astr_jax.reconstruction.store import MatchStore

ray_only = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is missing")
both = pytest.mark.parametrize("name", ["processes", pytest.param("ray", marks=ray_only)])


@pytest.fixture(scope="module")
def started():
    """Ray on this machine, once for the module; where it is."""
    if importlib.util.find_spec("ray") is None:
        yield
        return
    import ray

    there = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}}  # for invented_work
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=there)
    yield
    ray.shutdown()


def run(name, folder, workers, **more):
    work = InventedWork(weights="none", options=MatchOptions(), paths={}, **more)
    store, heard = MatchStore(folder, {}), []
    engine = Engine(name=name, workers=workers)
    count = match_spread(engine, work, WORLD.pairs, store, chunk=8, on_pair=heard.append)
    assert len(heard) == count
    return count


def contents(folder):
    return {part.name: part.read_bytes() for part in folder.glob("part-*")}


@both
@pytest.mark.filterwarnings("default")  # of Ray's own
def test_two_workers_write_the_files_of_one_and_a_dead_one_is_replaced(name, started, tmp_path):
    assert run(name, tmp_path / "one", 1) == 60
    assert len(contents(tmp_path / "one")) == 8
    assert run(name, tmp_path / "two", 2, deadly=tmp_path / "died") == 60
    assert (tmp_path / "died").exists()
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    with pytest.raises(ValueError, match=r"a.jpg cannot be read"):
        run(name, tmp_path / "bad", 1, bad=True)


def test_a_worker_finds_what_matching_here_finds(nano_config, nano_variables, tmp_path):
    weights, options = (
        tmp_path / "nano.safetensors",
        MatchOptions(resize=64, scales=1, polish=False, threshold=0.0),
    )
    save_params(weights, Params(nano_variables, nano_config))
    paths = {f"{n}.png": tmp_path / f"{n}.png" for n in range(3)}
    for seed, path in enumerate(paths.values()):
        Image.fromarray(picture(48, 64, seed)).save(path)
    pairs, store = [("0.png", "1.png"), ("1.png", "2.png")], MatchStore(tmp_path / "here", {})
    match_pairs(Matcher(load_params(weights), options), pairs, paths, store)
    found = Work(weights=weights, options=options, paths=paths).worker()(pairs)
    assert [len(matches.confidence) for matches in found] == list(store.pairs.values())
    assert min(store.pairs.values()) > 0
    for pair, matches in zip(pairs, found, strict=True):
        np.testing.assert_array_equal(matches.keypoints1, store.read(pair).keypoints1)


def test_an_engine_that_is_none_is_refused(tmp_path, capsys, monkeypatch):
    with pytest.raises(ValueError, match="engine must be one of here, processes, ray"):
        Engine(name="slurm")
    with pytest.raises(ValueError, match="at least 1; got 0"):
        Engine(name="ray", workers=0)
    for name in ("a", "b"):
        Image.new("L", (64, 48)).save(tmp_path / f"{name}.png")
    place = [str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["pairs", *place]) == 0
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["match-pairs", *place, "--engine", "ray"]) == 2
    assert "pip install 'astr_jax[ray]'" in capsys.readouterr().err
