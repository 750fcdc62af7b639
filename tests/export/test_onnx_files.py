"""A folder of ONNX graphs: what it says, what it computes, and when it is refused."""

import json
import os
import pathlib
import shutil
import subprocess

import jax
import numpy as np
import pytest
from PIL import Image

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")


from astr_jax.cli import main  # noqa: E402
from astr_jax.export import onnx_files  # noqa: E402
from astr_jax.export.agreement import Agreement  # noqa: E402
from astr_jax.export.onnx_files import export_onnx  # noqa: E402
from astr_jax.export.onnx_matcher import OnnxMatcher, onnx_task  # noqa: E402
from astr_jax.export.programs import Program  # noqa: E402

SIZE = (64, 96)  # of the pictures
NAMES = ("encode", "coarse", "fine", "polish", "match")
CPP = pathlib.Path(__file__).parents[2] / "examples" / "cpp"


@pytest.fixture(scope="module")
def exported(tmp_path_factory, micro_params, pictures):
    """The folder, and how it compared with JAX."""
    folder = tmp_path_factory.mktemp("graphs")
    done = export_onnx(
        micro_params, folder, size=SIZE, pair=pictures, note="Made of noise, for all."
    )
    return folder, done.agreement


def test_it_matches_as_jax_does(exported):
    _, agreement = exported
    assert agreement.counts[1] > 5
    assert agreement.same >= 0.995


def test_every_graph_says_what_it_is(exported):
    for name in NAMES:
        model = onnx.load(exported[0] / f"{name}.onnx")
        about = {x.key: x.value for x in model.metadata_props}
        assert about["licence"] == "Made of noise, for all."
        assert (json.loads(about["size"]), about["opset"]) == ([64, 96], "18")
        assert about["implementation"] == "gather"
        assert model.opset_import[0].version == 18
        named = [x.name for x in [*model.graph.input, *model.graph.output]]
        assert len(named) == len({*named})


def test_a_task_to_be_timed_matches_as_the_graphs_of_a_folder_do(exported, micro_params, pictures):
    expected = OnnxMatcher(exported[0]).match(*pictures)
    found = onnx_task(micro_params, *pictures)()
    np.testing.assert_allclose(found.keypoints1, expected.keypoints1, atol=1e-3)


def test_the_threshold_and_the_most_are_kept_to(exported, pictures):
    matcher = OnnxMatcher(exported[0])
    every = matcher.match(*pictures, polish=False, threshold=0.0)
    middle = float(np.median(every.confidence))
    fewer = matcher.match(*pictures, polish=False, threshold=middle, max_matches=3)
    np.testing.assert_array_equal(fewer.cell0, every.cell0[:3])
    assert len(matcher.match(*pictures, polish=False, threshold=middle)) < len(every)


def test_what_a_mask_hides_has_no_influence(exported, pictures):
    mask = np.ones(SIZE, bool)
    mask[:, 64:] = False
    other = np.where(mask, pictures[0], 255 - pictures[0])
    matcher = OnnxMatcher(exported[0])
    one, two = (
        matcher.match(x, pictures[1], mask0=mask, polish=False) for x in (pictures[0], other)
    )
    np.testing.assert_array_equal(one.keypoints1, two.keypoints1)


def test_an_export_that_does_something_else_is_removed(
    tmp_path, monkeypatch, micro_params, pictures
):
    def more(variables, **arrays):
        return {"more": arrays["image0"] + 1}

    program = Program(more, {"image0": jax.ShapeDtypeStruct((1, *SIZE), np.float32)})
    monkeypatch.setattr(onnx_files, "programs_of", lambda params, size: {"match": program})
    agreement = Agreement(same=0.5, largest=0.03, counts=(10, 10))
    monkeypatch.setattr(onnx_files, "compared", lambda *a, **k: agreement)
    with pytest.raises(ValueError, match=r"50.00% of 10 .* largest difference 0.03 px"):
        export_onnx(micro_params, tmp_path / "graphs", size=SIZE, pair=pictures)
    assert list((tmp_path / "graphs").iterdir()) == []


def test_a_program_that_has_no_graph_is_refused_in_words(
    micro_params, pictures, tmp_path, monkeypatch
):
    number = jax.ShapeDtypeStruct((3,), np.float32)
    program = Program(lambda weights, x: {"y": jax.lax.erf_inv(x)}, {"x": number})
    monkeypatch.setattr(onnx_files, "programs_of", lambda *_: {"match": program})
    with pytest.raises(ValueError, match=r"no ONNX graph: in match, .*'erf_inv'.*--stablehlo"):
        export_onnx(micro_params, tmp_path, size=SIZE, pair=pictures)
    assert not list(tmp_path.iterdir())


def test_the_command_matches_by_a_folder_of_graphs(exported, pictures, tmp_path, capsys):
    files = [str(tmp_path / f"{i}.png") for i in (0, 1)]
    for picture, file in zip(pictures, files, strict=True):
        Image.fromarray(picture).save(file)
    graphs = ["--runtime", "onnx", "--onnx", str(exported[0])]
    assert main(["match", *files, *graphs, "--no-polish", "--save", str(tmp_path / "m.npz")]) == 0
    expected = OnnxMatcher(exported[0]).match(*pictures, polish=False)
    np.testing.assert_array_equal(np.load(tmp_path / "m.npz")["cell1"], expected.cell1)
    assert "with loading" in capsys.readouterr().out
    assert main(["match", *files, *graphs, "--no-upright", "--scales", "1", "2"]) == 2
    assert "does not take --no-upright, --scales:" in capsys.readouterr().err
    assert main(["match", *files, "--runtime", "onnx"]) == 2
    assert "needs --onnx DIR" in capsys.readouterr().err
    assert main(["match", *files, "--runtime", "onnx", "--onnx", str(tmp_path)]) == 2
    assert "There is no" in capsys.readouterr().err


def test_the_example_in_cpp_prints_the_same_matches(exported, pictures, tmp_path):
    root = os.environ.get("ONNXRUNTIME_ROOT")
    if not root or not shutil.which("cmake"):
        pytest.skip("needs cmake, and ONNX Runtime for C++ in ONNXRUNTIME_ROOT")
    build = tmp_path / "build"
    for words in (
        ["cmake", "-S", CPP, "-B", build, f"-DONNXRUNTIME_ROOT={root}"],
        ["cmake", "--build", build],
    ):
        subprocess.run(words, check=True, capture_output=True, timeout=300)
    files = [tmp_path / f"{i}.pgm" for i in (0, 1)]
    for picture, file in zip(pictures, files, strict=True):
        Image.fromarray(picture).save(file)
    words = [build / "astr_match", exported[0] / "match.onnx", *files, "0"]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=300)
    rows = np.loadtxt(done.stdout.splitlines())
    expected = OnnxMatcher(exported[0]).match(*pictures)
    np.testing.assert_allclose(rows[:, 2:4], expected.keypoints1, atol=2e-3)
    np.testing.assert_allclose(rows[:, 5], expected.sigma, atol=2e-3)
