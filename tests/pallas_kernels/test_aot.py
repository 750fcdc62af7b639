"""Compiling for a GPU that is not there: all but the compiler itself, which is a download."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractDevice, AbstractMesh

from pallas_kernels import gpu_compiler
from pallas_kernels.sparse_attention import aot
from pallas_kernels.target import compile_for, target_platform

GPU = AbstractMesh(
    (1,), ("data",), abstract_device=AbstractDevice("NVIDIA H200", num_cores=132, platform="gpu")
)
SMALL = aot.Size((2, 3), heads=2, channels=4)


@pytest.fixture
def mesh():
    return jax.make_mesh((1,), ("data",))


def broken(size, dtype):
    def function(x):
        raise NotImplementedError("no rule\n  for this")

    return function, (aot.features(size, dtype),)


def doubled(size, dtype):
    return lambda x, cells: 2 * x, (aot.features(size, dtype), jax.ShapeDtypeStruct((3,), "int32"))


CASES = {"broken": broken, "doubled": doubled}


def test_the_target_is_the_default_backend_unless_the_mesh_is_of_another_device():
    assert target_platform() == jax.default_backend()
    with jax.sharding.use_abstract_mesh(GPU):
        assert target_platform() == "gpu"


def test_a_function_is_traced_anew_for_another_target():
    targets = []
    function = jax.jit(lambda x: targets.append(target_platform()) or x)
    function(1.0)
    with jax.sharding.use_abstract_mesh(GPU):
        function.trace(1.0)
    function(2.0)
    assert targets == [jax.default_backend(), "gpu"]


def test_the_gradient_of_a_custom_rule_is_traced_for_the_same_target():
    targets = []

    @jax.custom_vjp
    def function(x):
        return x

    function.defvjp(lambda x: (x, None), lambda _, g: (targets.append(target_platform()) or g,))
    with jax.sharding.use_abstract_mesh(GPU):
        jax.jit(jax.grad(function)).trace(1.0)
    assert targets == ["gpu"]


def test_a_function_compiles_for_the_devices_of_a_mesh(mesh):
    shape = jax.ShapeDtypeStruct((3,), jnp.float32)
    compiled = compile_for(mesh, lambda tree: tree["a"] + tree["b"], {"a": shape, "b": shape})
    three = jnp.arange(3.0)
    np.testing.assert_array_equal(compiled({"a": three, "b": three}), [0, 2, 4])


@pytest.mark.parametrize(
    ("name", "dtype"), [(name, dtype) for name, case in aot.CASES.items() for dtype in case[2]]
)
def test_every_case_gives_an_output_and_a_gradient_for_each_of_its_features(name, dtype):
    build, sizes, _ = aot.CASES[name]
    function, shapes = build(sizes[0], dtype)
    with jax.sharding.use_abstract_mesh(GPU):
        out, gradients = jax.eval_shape(aot.with_gradients(function), *shapes)
    floating = [x for x in shapes if jnp.issubdtype(x.dtype, jnp.floating)]
    assert all(x.dtype == dtype for x in [*jax.tree.leaves(out), *floating])
    assert [(g.shape, g.dtype) for g in gradients] == [(x.shape, x.dtype) for x in floating]


def test_a_case_that_does_not_compile_is_told_in_one_line_and_the_others_go_on(mesh, capsys):
    cases = {name: (case, (SMALL,), aot.DTYPES) for name, case in CASES.items()}
    count = aot.compile_all(cases, mesh)
    lines = capsys.readouterr().out.splitlines()
    assert count == {"failed": 4, "passed": 4}
    assert [line.split()[0] for line in lines] == ["broken"] * 4 + ["doubled"] * 4
    assert all("failed: NotImplementedError: no rule for this" in line for line in lines[:4])


@pytest.mark.parametrize(("case", "code"), [(broken, 1), (doubled, 0)])
def test_the_command_exits_with_1_when_a_case_fails(case, code, mesh, monkeypatch):
    monkeypatch.setattr(aot, "CASES", {"case": (case, (SMALL,), aot.DTYPES)})
    monkeypatch.setattr(aot, "gpu_mesh", lambda gpu, room: mesh)
    monkeypatch.setattr(gpu_compiler, "start", lambda module, folder: None)
    monkeypatch.setattr(sys, "argv", ["aot"])
    with pytest.raises(SystemExit) as end:
        aot.main()
    assert end.value.code == code


class Pip:
    """Stands in for pip: makes the folder it is told, then ends with a code."""

    def __init__(self, code):
        self.code, self.calls = code, []

    def __call__(self, arguments, **_):
        self.calls.append(arguments)
        folder = arguments[arguments.index("--target") + 1]
        folder.mkdir()
        (folder / "half").touch()
        return subprocess.CompletedProcess(arguments, self.code, "", "no network\n")


def test_the_compiler_is_fetched_once_in_the_version_of_jaxlib(tmp_path, monkeypatch):
    pip = Pip(0)
    monkeypatch.setattr(subprocess, "run", pip)
    folder = gpu_compiler.fetch(tmp_path / "env")
    assert gpu_compiler.fetch(tmp_path / "env") == folder
    assert [path.name for path in folder.iterdir()] == ["half"]
    assert len(pip.calls) == 1
    wanted = [word for word in pip.calls[0] if "==" in str(word)]
    assert wanted == [
        f"{name}=={jax.lib.__version__}" for name in ("jax-cuda13-plugin", "jax-cuda13-pjrt")
    ]


def test_a_failed_download_says_why_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", Pip(1))
    with pytest.raises(RuntimeError, match=r"pip could not install jax-cuda13.*no network"):
        gpu_compiler.fetch(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_command_starts_anew_with_the_compiler_before_what_was_on_the_path(
    tmp_path, monkeypatch
):
    def execve(program, arguments, environment):
        raise SystemExit((arguments[1:], environment["PYTHONPATH"]))

    monkeypatch.setattr(subprocess, "run", Pip(0))
    monkeypatch.setattr(gpu_compiler.os, "execve", execve)
    monkeypatch.setattr(gpu_compiler.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["aot.py", "--only", "x"])
    monkeypatch.setenv("PYTHONPATH", "mine")
    with pytest.raises(SystemExit) as end:
        gpu_compiler.start("some.module", tmp_path)
    packages = gpu_compiler.fetch(tmp_path)
    assert end.value.code == (["-m", "some.module", "--only", "x"], f"{packages}:mine")

    monkeypatch.syspath_prepend(str(packages))  # there, and still without the plugin
    with pytest.raises(SystemExit, match="Delete it"):
        gpu_compiler.start("some.module", tmp_path)
