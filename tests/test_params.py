import json
import pathlib

import flax.traverse_util
import jax
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from astr_jax.params import (
    SHIPPED,
    Calibration,
    Params,
    check_arrays,
    find_weights,
    fold_params,
    load_params,
    read_header,
    save_params,
)


@pytest.fixture(scope="module")
def params(nano_config, nano_variables):
    calibration = Calibration(temperature=1.5, sigma_factor=0.8, threshold=0.1)
    return Params(nano_variables, nano_config, calibration)


@pytest.fixture
def path(tmp_path, params):
    path = tmp_path / "micro.safetensors"
    save_params(path, params)
    return path


def flat(params):
    return flax.traverse_util.flatten_dict(params.variables, sep="/")


def rewritten(path, change_tensors=lambda t: t, **changed_header):
    """Writes the file again with other contents."""
    with safetensors.safe_open(path, framework="numpy") as file:
        header, names = file.metadata(), list(file.keys())
        tensors = {name: file.get_tensor(name) for name in names}
    header = {k: v for k, v in (header | changed_header).items() if v is not None}
    safetensors.numpy.save_file(change_tensors(tensors), path, metadata=header)


def test_the_same_weights_are_the_same_bytes(path, params):
    files = set()
    for _ in range(4):
        save_params(path, params, note="Häuser, 家")
        files.add(path.read_bytes())
    assert len(files) == 1
    assert read_header(path).note == "Häuser, 家"


def test_weights_come_back_as_they_were_saved(path, params):
    again = load_params(path, fold=False)
    assert (again.config, again.calibration) == (params.config, params.calibration)
    assert flat(again).keys() == flat(params).keys()
    for name, x in flat(params).items():
        np.testing.assert_array_equal(flat(again)[name], x)
    assert jax.tree.structure(again.variables) == jax.tree.structure(params.variables)


def test_the_leaves_are_arrays_and_the_rest_is_static(params):
    assert all(hasattr(leaf, "shape") for leaf in jax.tree.leaves(params))
    hash(jax.tree.structure(params))  # so that jit takes params as an argument
    doubled = jax.tree.map(lambda x: 2 * x, params)
    assert doubled.config == params.config


def test_the_header_is_read_without_the_arrays(path, params):
    save_params(path, params, note="made of random numbers")
    header = read_header(path)
    assert (header.config, header.calibration) == (params.config, params.calibration)
    assert header.note == "made of random numbers"


def test_weights_with_another_note_run_through_the_same_programs(path, params):
    total = jax.jit(lambda p: sum(x.sum() for x in jax.tree.leaves(p)))
    for note in ("", "made of random numbers"):
        save_params(path, params, note=note)
        total(load_params(path, fold=False))
    assert total._cache_size() == 1


def test_bfloat16_halves_the_kernels_and_spares_the_vectors(tmp_path, path, params):
    small = tmp_path / "small.safetensors"
    save_params(small, params, dtype="bfloat16")
    again = flat(load_params(small, fold=False))
    for name, x in flat(params).items():
        assert again[name].dtype == np.float32
        np.testing.assert_allclose(again[name], x, rtol=2**-8 if x.ndim > 1 else 0)
    assert small.stat().st_size < 0.6 * path.stat().st_size


def test_loading_folds_unless_told_otherwise(path, params):
    folded = load_params(path)
    assert folded.config.backbone.folded
    assert "batch_stats" not in folded.variables
    expected = flat(fold_params(params))
    assert flat(folded).keys() == expected.keys()
    for name, x in flat(folded).items():
        np.testing.assert_allclose(x, expected[name], rtol=1e-6)
    assert fold_params(folded) is folded


def test_folding_leaves_the_given_weights_alone(params):
    before = jax.tree.map(np.copy, params)
    fold_params(params)
    jax.tree.map(np.testing.assert_array_equal, params, before)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_folded_weights_come_back_folded_and_as_float32(tmp_path, params, dtype):
    folded = fold_params(params)
    save_params(tmp_path / "folded.safetensors", folded, dtype=dtype)
    again = load_params(tmp_path / "folded.safetensors")
    assert (again.config, again.calibration) == (folded.config, folded.calibration)
    assert flat(again).keys() == flat(folded).keys()
    for name, x in flat(folded).items():
        assert flat(again)[name].dtype == np.float32
        rounded = dtype == "bfloat16" and x.ndim > 1
        np.testing.assert_allclose(flat(again)[name], x, rtol=2**-8 if rounded else 0)


def test_folded_weights_are_not_loaded_to_train_on(tmp_path, params):
    save_params(tmp_path / "folded.safetensors", fold_params(params))
    with pytest.raises(ValueError, match="folded: they cannot be trained on"):
        load_params(tmp_path / "folded.safetensors", fold=False)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_have_the_arrays_of_their_configuration(name):
    params = load_params(find_weights(name), fold=False)  # which trusts what ships
    check_arrays(find_weights(name), flat(params), params.config)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.safetensors"):
        load_params(tmp_path / "nowhere.safetensors")


def truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def garbage(path):
    path.write_bytes(b"PK\x03\x04 this is something else" * 20)


def empty(path):
    path.write_bytes(b"")


def with_nan(path):
    def change(tensors):
        name = next(name for name in tensors if name.endswith("stem/conv/kernel"))
        tensors[name] = np.full_like(tensors[name], np.nan)
        return tensors

    rewritten(path, change)


def without_one(path):
    rewritten(path, lambda t: {k: v for k, v in t.items() if "spot8_0/q" not in k})


def with_one_more(path):
    rewritten(path, lambda t: t | {"params/extra/kernel": np.ones((2, 2), np.float32)})


def of_other_width(path):
    rewritten(path, lambda t: {k: v[..., :-1] if "spot8_0/q" in k else v for k, v in t.items()})


def foreign(path):
    safetensors.numpy.save_file({"model.weight": np.ones(3, np.float32)}, path)


def of_a_later_version(path):
    rewritten(path, format_version="2")


def without_a_version(path):
    rewritten(path, format_version=None)


def of_a_later_configuration(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        config = json.loads(file.metadata()["config"])
    rewritten(path, config=json.dumps(config | {"register_tokens": 4}))


def without_a_configuration(path):
    rewritten(path, config=None)


def with_broken_json(path):
    rewritten(path, config="{")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (truncated, "damaged"),
        (garbage, "not a safetensors file"),
        (empty, "not a safetensors file"),
        (foreign, "does not hold ASTR weights"),
        (with_nan, "stem/conv/kernel holds NaN"),
        (without_one, "spot8_0/q/kernel should be .* is nothing"),
        (with_one_more, "extra/kernel should be nothing"),
        (of_other_width, r"spot8_0/q/kernel should be \(16, 16\), and is \(16, 15\)"),
        (of_a_later_version, "format version 2.*Update astr_jax"),
        (of_a_later_configuration, "ModelConfig has no register_tokens"),
        (without_a_version, "header is damaged"),
        (without_a_configuration, "header is damaged"),
        (with_broken_json, "header is damaged"),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_a_file_that_is_no_good_is_named_with_the_reason(path, spoil, message):
    spoil(path)
    with pytest.raises(ValueError, match=message) as error:
        load_params(path)
    assert str(path) in str(error.value)


def test_a_failed_write_leaves_the_old_file_and_no_half_one(path, params, monkeypatch):
    before = path.read_bytes()

    def half(where, data):
        with where.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError("no space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", half)
    with pytest.raises(OSError, match="no space"):
        save_params(path, params)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "wrong", [{"temperature": 0.0}, {"sigma_factor": -1.0}, {"threshold": 1.0}]
)
def test_a_calibration_refuses_nonsense(wrong):
    with pytest.raises(ValueError, match="A calibration needs"):
        Calibration(**wrong)
