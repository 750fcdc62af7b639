"""Files of jax.export: read back and run without this package."""

import functools
import json
import pathlib
import subprocess
import sys

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from astr_jax.export import stablehlo
from astr_jax.export.pairs import PreparedPair
from astr_jax.export.programs import Program, named, programs_of

SIZE = (64, 96)  # of the pictures
EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "match_by_jax_alone.py"


def a_shift(variables, image0, image1, mask0, mask1, threshold):
    """Three matches in the place of a network's, which would take a minute to compile."""
    points = jnp.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]) + jnp.float32(
        mask0.sum() - mask0.size
    )
    bright = (image0.mean() + image1.mean()) / 2
    return {
        "keypoints0": points,
        "keypoints1": points + 10.0,
        "confidence": jnp.array([[0.95, 0.92, 0.5]]),
        "covariance": jnp.ones((1, 3, 2, 2)) * bright,
        "scale": jnp.ones((1, 3)),
        "cell0": jnp.array([[1, 2, 3]]),
        "cell1": jnp.array([[4, 5, 6]]),
        "valid": jnp.array([[True, True, True]]) & (jnp.array([[0.95, 0.92, 0.5]]) > threshold),
    }


@pytest.fixture
def exported(tmp_path, monkeypatch, micro_params, pictures):
    inputs = programs_of(micro_params, SIZE)["match"].inputs
    program = Program(a_shift, inputs)
    monkeypatch.setattr(stablehlo, "programs_of", lambda params, size: {"match": program})
    folder = tmp_path / "programs"
    return folder, stablehlo.export_stablehlo(
        micro_params, folder, size=SIZE, pair=pictures, note="Noise."
    )


def test_it_says_what_it_is(exported):
    folder, done = exported
    assert done.agreement.same == 1.0
    about = json.loads((folder / "about.json").read_text())
    assert about["platforms"] == ["cpu", "cuda", "tpu"]
    assert (about["implementation"], about["licence"]) == ("gather", "Noise.")


def test_the_whole_match_goes_to_all_platforms(micro_params):
    program = programs_of(named(micro_params, "gather"), SIZE)["match"]
    jitted = jax.jit(functools.partial(program.function, micro_params.variables))
    exported = jax.export.export(jitted, platforms=stablehlo.PLATFORMS)(**program.inputs)
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert "tpu_custom_call" not in exported.mlir_module()


def test_a_program_that_imports_jax_alone_matches_two_pictures(exported, pictures, tmp_path):
    files = [tmp_path / f"{i}.png" for i in (0, 1)]
    for picture, file in zip(pictures, files, strict=True):
        Image.fromarray(picture).save(file)
    assert "astr_jax" not in EXAMPLE.read_text().split('"""')[2]
    words = [sys.executable, EXAMPLE, exported[0] / "match.jax", *files]
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, timeout=300, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    rows = np.loadtxt(done.stdout.splitlines())
    np.testing.assert_allclose(rows, [[1, 2, 11, 12, 0.95], [3, 4, 13, 14, 0.92]], rtol=1e-6)


@pytest.mark.parametrize(
    ("size", "words"), [((240, 320), "Take 320 x 256"), ((32, 64), "Take 64 x 64")]
)
def test_a_size_that_the_pyramid_cannot_take_is_refused(micro_params, size, words):
    with pytest.raises(ValueError, match=words):
        programs_of(micro_params, size)


def test_an_implementation_of_other_devices_is_refused(micro_params, pictures, tmp_path):
    given = {"size": SIZE, "pair": pictures, "implementation": "pallas_tiles"}
    with pytest.raises(ValueError, match="one of gather, dense, segment_sum"):
        stablehlo.export_stablehlo(micro_params, tmp_path / "programs", **given)


def test_the_implementation_is_named_and_not_chosen(micro_params):
    assert named(micro_params, "dense").config.aggregation.implementation == "dense"


def test_a_tall_picture_is_shrunk_until_it_fits(rng):
    tall = rng.random((200, 50)).astype(np.float32)
    pair = PreparedPair.of(tall, tall[:60], SIZE)
    assert pair.image0.shape == (64, 16)
    assert pair.image1.shape == (60, 50)
    arrays = pair.arrays()
    assert arrays["image0"].shape == (1, *SIZE)
    assert arrays["mask1"].sum() == 60 * 50


def test_matches_come_back_to_the_pixels_of_the_pictures_as_given(rng):
    wide = rng.random((50, 192)).astype(np.float32)
    pair = PreparedPair.of(wide, wide[:, :96], SIZE)
    found = {
        "keypoints0": np.array([[[0.0, 0.0], [3.0, 5.0], [1.0, 1.0]]], np.float32),
        "keypoints1": np.array([[[2.0, 4.0], [6.0, 8.0], [1.0, 1.0]]], np.float32),
        "covariance": np.ones((1, 3, 2, 2), np.float32),
        "confidence": np.array([[0.9, 0.8, 0.7]], np.float32),
        "scale": np.ones((1, 3), np.float32),
        "cell0": np.array([[0, 1, 2]], np.int32),
        "cell1": np.array([[2, 3, 4]], np.int32),
        "valid": np.array([[True, True, False]]),
    }
    matches = pair.as_given(found)
    np.testing.assert_allclose(matches.keypoints0, [[0.5, 0.5], [6.5, 10.5]])
    np.testing.assert_allclose(matches.keypoints1, found["keypoints1"][0, :2])
    assert pair.as_given(found, 1).cell1.tolist() == [2]
