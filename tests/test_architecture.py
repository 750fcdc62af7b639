"""The law of imports: they point down, and rooms on one floor do not know each other."""

import ast
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
DESIGN = ROOT / "astr_jax" / "README.md"
MOST_LINES = 300  # of a file


def read_floors(page):
    """The floors, from the ground up, as the block under "## Floors" of the design page has them:
    one floor a line, its rooms parted by spaces, named within astr_jax."""
    block = page.split("## Floors", 1)[1].split("```")[1]
    own = ("pallas_kernels", "astr_jax")
    return [
        [room if room in own else f"astr_jax.{room}" for room in line.split()]
        for line in block.strip().splitlines()
    ]


FLOORS = read_floors(DESIGN.read_text())
HEIGHT = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("astr_jax", "pallas_kernels")
    for path in sorted((ROOT / package).rglob("*.py"))
}


def room_of(module):
    """The room that a module stands in: the longest name in FLOORS that it begins with."""
    parts = module.split(".")
    names = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    room = next((name for name in names if name in HEIGHT), None)
    # Only __init__.py itself is the public surface; a new module must be given its floor.
    return None if room == "astr_jax" and module != "astr_jax" else room


def imported_modules(tree):
    """All of the project's modules that a file imports, anywhere in it, by their full names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield module if module in MODULES else node.module


def offences(module, tree):
    """The imports of a module that do not point down."""
    room = room_of(module)
    for name in imported_modules(tree):
        if name.split(".")[0] not in ("astr_jax", "pallas_kernels"):
            continue
        other = room_of(name)
        if other is None:
            yield f"{module} imports {name}, which stands on no floor"
        elif other != room and HEIGHT[other] >= HEIGHT[room]:
            yield f"{module} (floor {HEIGHT[room]}) imports {name} (floor {HEIGHT[other]})"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    assert room_of(module) is not None, f"{module} has no floor: add it to FLOORS"
    assert not list(offences(module, ast.parse(MODULES[module].read_text())))


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("astr_jax.ops.grids", "from astr_jax.model import fine", True),
        ("astr_jax.ops.grids", "import astr_jax.api", True),
        ("astr_jax.losses", "from astr_jax.supervision import GroundTruth", True),
        ("astr_jax.losses", "def f():\n    from astr_jax.data import photos", True),
        ("pallas_kernels.sparse_attention.api", "import astr_jax.types", True),
        ("astr_jax.data.photos", "from astr_jax import api", True),
        ("astr_jax.data.photos", "from astr_jax import load", True),
        ("astr_jax.api", "import astr_jax.nowhere", True),
        ("astr_jax.model.fine", "from astr_jax.model import spots\nimport jax", False),
        ("astr_jax.cli", "import astr_jax\nfrom astr_jax import viz", False),
    ],
)
def test_the_law_itself_sees_what_it_forbids(module, source, wrong):
    assert bool(list(offences(module, ast.parse(source)))) is wrong


def test_the_kernels_import_nothing_but_jax_and_the_standard_library():
    allowed = {"jax", "jaxtyping", "numpy", "pallas_kernels"}
    backend = {"jax_triton", "triton"}  # of the extra of that name, imported when it is asked for
    for module, path in MODULES.items():
        if module.startswith("pallas_kernels"):
            for name in imported_modules(ast.parse(path.read_text())):
                top = name.split(".")[0]
                known = allowed | (backend if module.endswith(".triton_lists") else set())
                assert top in known or top in sys.stdlib_module_names, f"{module}: {name}"


def test_the_floors_are_those_of_the_design_page():
    assert len(FLOORS) > 15
    assert FLOORS[0] == ["pallas_kernels"]
    assert FLOORS[-1] == ["astr_jax.cli"]
    assert {module for room in HEIGHT for module in MODULES if room_of(module) == room} == {
        *MODULES
    }
    empty = [room for room in HEIGHT if not any(room_of(module) == room for module in MODULES)]
    assert empty == [], "rooms on the design page that are not there"


@pytest.mark.parametrize("module", MODULES)
def test_no_file_is_too_long_to_be_read_in_one_go(module):
    assert len(MODULES[module].read_text().splitlines()) <= MOST_LINES


def test_a_stranger_reads_the_readme_in_one_go():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_what_people_type_is_read_in_one_room():
    """argparse belongs to the commands; what runs on a machine without them has its own."""
    allowed = ("astr_jax.cli", "astr_jax.training.aot", "pallas_kernels")
    for module, path in MODULES.items():
        if not module.startswith(allowed):
            assert "argparse" not in path.read_text(), module
