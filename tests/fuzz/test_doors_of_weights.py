"""Any weights file: its header, its arrays and its bytes; and that files are written whole."""

import json
import pathlib

import numpy as np
import pytest
import safetensors.numpy
from damage import VALUES, WORDS, spoiled_bytes, spoiled_json
from hypothesis import given
from hypothesis import strategies as st
from verdicts import ask, assert_finite, examples

from astr_jax.files import replacing
from astr_jax.params import Params, load_params, read_header, save_params


@pytest.fixture(scope="module")
def weights(tmp_path_factory, nano_config, nano_variables):
    path = tmp_path_factory.mktemp("weights") / "good.safetensors"
    save_params(path, Params(nano_variables, nano_config))
    return path.read_bytes()


def loaded(path):
    params = ask("weights", lambda: load_params(path), path)
    if params is not None:
        assert_finite(params.variables)
    header = ask("weights' headers", lambda: read_header(path), path)
    assert header is not None or params is None


@examples(12)
@given(data=st.data())
def test_any_spoiled_file_is_read_or_refused_by_its_name(tmp_path, weights, data):
    path = tmp_path / data.draw(st.sampled_from(("w.safetensors", "w.txt", "w")))
    path.write_bytes(data.draw(spoiled_bytes(weights)))
    loaded(path)


@examples(10, most=150)
@given(data=st.data())
def test_any_header_and_arrays_are_read_or_refused_by_the_file(tmp_path, weights, data):
    path = tmp_path / "w.safetensors"
    size = int.from_bytes(weights[:8], "little")
    texts = json.loads(weights[8 : 8 + size])["__metadata__"]
    tensors = safetensors.numpy.load(weights)
    key = data.draw(st.sampled_from([*texts, "arrays", "arrays"]))
    if key in ("config", "calibration"):
        texts[key] = json.dumps(data.draw(spoiled_json(json.loads(texts[key]))))
    elif key == "arrays":
        _spoil(tensors, data.draw)
    else:
        texts[key] = data.draw(st.sampled_from(WORDS))
    path.write_bytes(safetensors.numpy.save(tensors, metadata=texts))
    loaded(path)


def _spoil(tensors, draw):
    name = draw(st.sampled_from(sorted(tensors)))
    array = tensors.pop(name)
    match draw(st.sampled_from(("lose", "rename", "turn", "cut", "type", "nan", "flat"))):
        case "rename":
            tensors[name + draw(st.sampled_from(("x", "/x", "/", "//")))] = array
        case "turn":
            tensors[name] = np.ascontiguousarray(array[None])
        case "cut":
            tensors[name] = np.ascontiguousarray(array[..., :1])
        case "type":
            tensors[name] = array.astype(draw(st.sampled_from(("int8", "float64", "bool", "f2"))))
        case "nan":
            tensors[name] = np.full_like(array, draw(st.sampled_from((np.nan, np.inf))))
        case "flat":
            tensors[name] = array.reshape(-1)


@examples(5, most=300)
@given(old=st.booleans(), written=st.integers(0, 3), error=st.sampled_from((OSError, KeyError)))
def test_a_file_is_whole_or_as_it_was(tmp_path, old, written, error):
    folder = pathlib.Path(tmp_path)
    path = folder / "a.bin"
    path.unlink(missing_ok=True)
    if old:
        path.write_bytes(b"old")

    def write():
        with replacing(path) as beside, open(beside, "wb") as file:
            for _ in range(written):
                file.write(b"new")
                file.flush()
                assert not path.exists() or path.read_bytes() == b"old"
            if written < 3:
                raise error("a disk is full")

    if written < 3:
        with pytest.raises(error):
            write()
        assert [x.name for x in folder.iterdir()] == (["a.bin"] if old else [])
    else:
        write()
    if old or written == 3:
        assert path.read_bytes() == (b"old" if written < 3 else b"newnewnew")


@examples(5, most=300)
@given(
    note=st.sampled_from(VALUES), dtype=st.sampled_from(("float32", "bfloat16")), bad=st.booleans()
)
def test_weights_are_written_whole_or_not_at_all(tmp_path, nano_config, note, dtype, bad):
    path = tmp_path / "w.safetensors"
    path.unlink(missing_ok=True)
    params = Params({"params": {"a": np.ones(3), **({"b": object()} if bad else {})}}, nano_config)
    try:
        save_params(path, params, note=note, dtype=dtype)
    except Exception:
        assert not list(tmp_path.iterdir())
    else:
        assert read_header(path).note == note
    assert not list(tmp_path.glob(".*"))
