"""The commands of reconstruction, as far as they need no trained network."""

import numpy as np
import pytest
from reconstruction.synthetic import make_scene

from astr_jax.cli import main
from astr_jax.evaluation.scores.models import read_truth, score_model
from astr_jax.reconstruction.mapping import quiet, read_models
from astr_jax.reconstruction.pairs import most_similar
from astr_jax.reconstruction.pipeline import read_stamp
from astr_jax.reconstruction.retrieval import similarity
from astr_jax.reconstruction.tracks import write_tracks


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return make_scene(tmp_path_factory.mktemp("commands") / "photos")


def test_pairs_are_listed_and_then_kept(scene, tmp_path, capsys):
    assert main(["pairs", str(scene.folder), "--out", str(tmp_path / "model")]) == 0
    file = tmp_path / "model" / "pairs.txt"
    assert len(file.read_text().splitlines()) == 15
    file.write_text("0.jpg 1.jpg\n")
    assert main(["pairs", str(scene.folder), "--out", str(tmp_path / "model")]) == 0
    assert "1 pairs of 6 photographs" in capsys.readouterr().out
    words = ["--pairs", "sequential", "--window", "1"]
    assert main(["pairs", str(scene.folder), "--out", str(tmp_path / "model"), *words]) == 0
    assert len(file.read_text().splitlines()) == 5


def test_a_stage_asks_for_the_one_before(scene, tmp_path, capsys):
    out = str(tmp_path / "model")
    assert main(["tracks", str(scene.folder), "--out", out]) == 2
    assert "astr pairs makes it" in capsys.readouterr().err
    assert main(["database", str(scene.folder), "--out", out]) == 2
    assert "astr tracks makes them" in capsys.readouterr().err
    assert main(["pairs", str(tmp_path), "--out", out]) == 2
    assert "at least two photographs" in capsys.readouterr().err


def test_a_database_is_made_anew_only_where_its_tracks_have_changed(scene, tmp_path):
    words = ["database", str(scene.folder), "--out", str(tmp_path), "--camera", "single"]
    write_tracks(tmp_path / "tracks.safetensors", scene.tracks, stamp="first")
    assert main(words) == 0
    file = tmp_path / "database.db"
    made, stamp = file.stat().st_mtime_ns, read_stamp(file)
    assert main(words) == 0
    assert file.stat().st_mtime_ns == made
    write_tracks(tmp_path / "tracks.safetensors", scene.tracks, stamp="second")
    assert main(words) == 0
    assert read_stamp(file) != stamp


def test_mapping_and_report_follow_a_database(scene, tmp_path):
    from astr_jax.cli import reconstruction
    from astr_jax.reconstruction.pipeline import Workspace
    from astr_jax.reconstruction.report import write_report

    write_tracks(tmp_path / "tracks.safetensors", scene.tracks, stamp="first")
    words = ["database", str(scene.folder), "--out", str(tmp_path), "--camera", "single"]
    assert main(words) == 0
    place = Workspace(tmp_path)

    class Options:
        photos, mapper, threads = str(scene.folder), "incremental", 1

    reconstruction.run_mapping(Options, scene.photos, place, "stamp")
    assert "6 of 6 photographs registered" in write_report(place, scene.photos)
    page = place.report.read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "http" not in page
    model = read_models(place.sparse)[0]
    truth = read_truth(place.sparse / "0", {photo.name for photo in scene.photos})
    assert len(truth) == 15
    score = score_model(model, truth)
    assert score.registered == 6
    np.testing.assert_allclose(score.auc, 100, atol=0.1)
    with quiet():
        model.deregister_frame(model.find_image_with_name("0.jpg").frame_id)
    assert np.isinf(score_model(model, truth).errors).sum() == 5


def test_too_few_photographs_are_not_timed(scene, capsys):
    assert main(["eval", "bulk", "--photos", str(scene.folder), "--count", "2"]) == 2
    assert "--count must be at least 3" in capsys.readouterr().err


def test_photographs_of_one_kind_are_paired():
    rng = np.random.default_rng(1)
    kinds = rng.normal(size=(2, 32))
    descriptors = kinds[[0, 1, 0, 1]] + 0.1 * rng.normal(size=(4, 32)) + 5.0
    descriptors[:, 0] = [100, 130, 130, 100]  # a channel of another size must not decide
    pairs = most_similar(list("abcd"), similarity(descriptors), most=1)
    assert pairs == [("a", "c"), ("b", "d")]
