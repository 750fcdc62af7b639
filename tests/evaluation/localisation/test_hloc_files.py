"""A localisation that was cut, damaged or changed goes on, or says why not."""

import subprocess
import sys

import numpy as np
import pytest
from hloc_world import SFM_PAIRS, assert_same_files, hloc_matches

from astr_jax.evaluation.localisation.hloc_files import DenseMatches
from astr_jax.evaluation.scores.found import FoundMatches


def test_a_killed_run_goes_on_and_ends_with_the_same_files(world):
    whole = world.write(out="whole")

    def killed(img0, img1, K0=None, K1=None):
        if world.calls == 5:
            raise KeyboardInterrupt
        return world.match(img0, img1)

    with pytest.raises(KeyboardInterrupt):
        world.write(matcher=killed)
    assert not (world.folder / "out" / "features.h5").exists()
    heard = []
    written = world.write(on_pair=heard.append)
    assert world.calls == 6
    assert written.num_new == 1
    assert heard == [" ".join(pair) for pair in SFM_PAIRS]
    assert_same_files(written, whole)
    assert world.write().num_new == 0


def test_a_process_killed_in_the_midst_of_a_pair_leaves_the_pairs_before(tmp_path):
    script = """
import os, pathlib, sys
import numpy as np
from astr_jax.evaluation.localisation.hloc_files import DenseMatches
from astr_jax.evaluation.scores.found import FoundMatches
found = FoundMatches(points0=np.ones((9, 2)), points1=np.ones((9, 2)), confidence=np.ones(9))
dense = DenseMatches(pathlib.Path(sys.argv[1]), {"size": 8}, print)
dense.write(("a/1.jpg", "b/2.jpg"), found)
dense.file["a-1.jpg/b-3.jpg/keypoints0"] = np.ones((9, 2))
dense.file.flush()
os._exit(9)
"""
    path = tmp_path / "dense.h5"
    assert subprocess.run([sys.executable, "-c", script, path], check=False).returncode == 9
    said = []
    with DenseMatches(path, {"size": 8}, said.append) as dense:
        assert ("a/1.jpg", "b/2.jpg") in dense
        assert ("a/1.jpg", "b/3.jpg") not in dense
        found = FoundMatches(
            points0=np.ones((4, 2)), points1=np.ones((4, 2)), confidence=np.ones(4)
        )
        dense.write(("a/1.jpg", "b/3.jpg"), found)
        assert len(dense.read(("a/1.jpg", "b/3.jpg")).confidence) == 4
    assert not said


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_moved_aside_with_a_message(world, share):
    whole = world.write(out="whole")
    world.write()
    path = world.folder / "out" / "dense.h5"
    for damaged in (1, 2):
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        said = []
        assert world.write(say=said.append).num_new == 3
        (message,) = said
        assert "dense.h5 is damaged (" in message
        assert f"dense.damaged{damaged}" in message
        assert path.with_suffix(f".damaged{damaged}").exists()
    assert_same_files(world.write(), whole)


def test_a_file_that_another_process_writes_to_is_left_alone(world):
    world.write()
    path = world.folder / "out" / "dense.h5"
    script = "import h5py, sys; f = h5py.File(sys.argv[1], 'a'); print('open', flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", script, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with other:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(OSError, match="lock"):
            world.write()
        other.communicate("\n")
    assert [p.name for p in path.parent.glob("dense.*")] == ["dense.h5"]


def test_damaged_keypoints_are_not_made_anew_behind_a_models_back(world):
    features = world.write().features
    features.write_bytes(features.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"features\.h5 is damaged.*begin with the first list"):
        world.write("loc")


def test_failing_pairs_are_told_before_keypoints_are_fixed_and_tried_again(world):
    def failing(img0, img1, K0=None, K1=None):
        if img0[0, 0] == 20:
            raise RuntimeError("out of film")
        return world.match(img0, img1)

    with pytest.raises(
        ValueError, match=r"1 of 3 pairs failed, the first: db/a\.png db/b\.png \(R"
    ):
        world.write(matcher=failing)
    assert not (world.folder / "out" / "features.h5").exists()
    written = world.write(matcher=failing, allow_failures=True, out="other")
    assert written.failures == {"db/a.png db/b.png": "RuntimeError: out of film"}
    assert [len(points) for points in hloc_matches(written, *SFM_PAIRS[0])] == [0, 0]
    assert len(hloc_matches(written, *SFM_PAIRS[1])[0]) == 110
    assert_same_files(world.write(), world.write(out="whole"))


def test_a_folder_of_another_matcher_or_size_is_refused(world):
    world.write(settings={"matcher": "sift", "steps": (1, 2)})
    world.write(settings={"matcher": "sift", "steps": (1, 2)})
    with pytest.raises(
        ValueError, match=r"dense\.h5 was begun with other settings: matcher differ"
    ):
        world.write(settings={"matcher": "astr", "steps": (1, 2)})
