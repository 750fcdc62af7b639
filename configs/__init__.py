"""Experiments: each file documents its command, hardware, time and expected score.

A configuration is a module with model() -> ModelConfig and, where it can be trained here,
experiment() -> Experiment.
"""

import importlib
import importlib.util
import pathlib
import pkgutil
import types


def names() -> list[str]:
    """The configurations of this package, in the order of the alphabet."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def read(name: str) -> types.ModuleType:
    """The configuration of a name ("tiny"), or of a Python file.

    Raises FileNotFoundError, or ValueError for an unknown name or a file without model().
    """
    if not name.endswith(".py"):
        if name not in names():
            raise ValueError(
                f"{name!r} is no configuration: take one of {', '.join(names())}, or a .py file."
            )
        return importlib.import_module(f"{__name__}.{name}")
    if not pathlib.Path(name).is_file():
        raise FileNotFoundError(f"There is no configuration file {name}.")
    spec = importlib.util.spec_from_file_location("configuration_file", name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "model"):
        raise ValueError(f"{name} is no configuration: it has no function model().")
    return module
