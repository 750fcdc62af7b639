"""Configurations by name, or from a file of your own.

A configuration is a Python file with model() -> ModelConfig and, where it can be trained here,
experiment() -> Experiment. Those that come with the package lie in the folder configs/: beside the
package in a checkout, inside it where it is installed. One that builds on another asks for it here:

    from astr_jax.configurations import read

    model = read("tiny").model
"""

import importlib.util
import pathlib
import types

PACKAGE = pathlib.Path(__file__).parent


def folder() -> pathlib.Path:
    """Where the configurations lie that come with the package."""
    inside = PACKAGE / "configs"
    return inside if inside.is_dir() else PACKAGE.parent / "configs"


def names() -> list[str]:
    """The configurations that come with the package, in the order of the alphabet."""
    return sorted(path.stem for path in folder().glob("*.py") if path.stem != "__init__")


def read(name: str) -> types.ModuleType:
    """The configuration of a name ("tiny"), or of a Python file.

    Raises FileNotFoundError, or ValueError for an unknown name or a file without model().
    """
    if name.endswith(".py"):
        path = pathlib.Path(name)
        if not path.is_file():
            raise FileNotFoundError(f"There is no configuration file {name}.")
    elif name in names():
        path = folder() / f"{name}.py"
    else:
        raise ValueError(
            f"{name!r} is no configuration: take one of {', '.join(names())}, or a .py file."
        )
    spec = importlib.util.spec_from_file_location(f"configuration_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "model"):
        raise ValueError(f"{name} is no configuration: it has no function model().")
    return module
