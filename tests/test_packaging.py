"""What an installation puts where: nothing that could meet a folder of a user's."""

import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The names in the wheel, built from a copy of the tree, without network."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("astr_jax", "pallas_kernels", "configs"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    program = "from setuptools.build_meta import build_wheel; build_wheel('.')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tree.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        return file.namelist()


def test_an_installation_adds_two_packages_at_the_top_level(installed):
    top = {name.split("/")[0] for name in installed}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "astr_jax",
        "pallas_kernels",
    }


def test_configurations_weights_and_tables_come_along(installed):
    for path in sorted((ROOT / "configs").glob("*.py")):
        assert f"astr_jax/configs/{path.name}" in installed
    for name in ("weights/tiny.safetensors", "weights/README.md", "README.md"):
        assert f"astr_jax/{name}" in installed
    assert "astr_jax/evaluation/reports/published.json" in installed
    modules = {f"{p.relative_to(ROOT)}" for p in (ROOT / "astr_jax").rglob("*.py")}
    assert modules <= set(installed)
