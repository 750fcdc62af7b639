"""The type checker that the tests put around every annotated function of the packages.

It is named in pytest's options (pyproject.toml), behind --jaxtyping-packages: jaxtyping has it
check each call's arguments and result, and compares the sizes that a signature calls by one name.
"""

import dataclasses
import inspect

import jax
import numpy as np
from beartype import BeartypeConf, beartype

CONF = BeartypeConf(is_pep484_tower=True)  # an int is welcome where a float is


def check(function):
    """Checks function's calls; those of a pytree's __init__ only where its leaves are arrays.

    JAX builds pytrees of other things than arrays: axes, shardings, shapes, whole trees of them.
    """
    checked = beartype(conf=CONF)(function)
    if not (inspect.isfunction(function) and function.__name__ == "__init__"):
        return checked

    def init(self, *args, **kwargs):
        if dataclasses.is_dataclass(self) and is_pytree(type(self)):
            leaves = jax.tree.leaves(data_of(function, self, args, kwargs))
            if not (leaves and all(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves)):
                return function(self, *args, **kwargs)
        return checked(self, *args, **kwargs)

    return init


def is_pytree(kind):
    """Whether JAX takes instances of a class apart."""
    try:
        return not jax.tree_util.all_leaves([object.__new__(kind)])
    except AttributeError:  # it looked for the fields of an empty instance
        return True


def data_of(init, self, args, kwargs):
    """What is given for the fields of a dataclass that JAX sees, without the static ones."""
    bound = inspect.signature(init).bind(self, *args, **kwargs)
    bound.apply_defaults()
    static = {
        field.name
        for field in dataclasses.fields(self)
        if field.metadata.get("static") or not field.metadata.get("pytree_node", True)
    }
    given = {name: value for name, value in bound.arguments.items() if value is not self}
    return {name: value for name, value in given.items() if name not in static}
