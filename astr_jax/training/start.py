"""Where a run begins: fresh weights, given ones, or those layers of given ones that fit."""

import jax
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh
from jaxtyping import PyTree
from rich import print as say

from astr_jax.config import architecture
from astr_jax.models.kinds import init_variables
from astr_jax.params import Params
from astr_jax.training import devices
from astr_jax.training.experiment import Experiment
from astr_jax.training.optimiser import optimizer_of
from astr_jax.training.step import TrainState, make_state


def check_initial(experiment: Experiment, initial: Params | None, *, partial: bool) -> None:
    """Raises ValueError where weights to start from do not fit, or are needed and not given."""
    same = initial is None or architecture(initial.config) == architecture(experiment.model)
    if not (same or partial):
        raise ValueError(
            "The weights to start from have another configuration than the experiment. --partial "
            "takes the layers that fit."
        )
    if partial and initial is None:
        raise ValueError("--partial says what to take of weights: give them by --init.")


def first_state(
    experiment: Experiment, mesh: Mesh, initial: Params | None = None, *, partial: bool = False
) -> TrainState:
    """The state before the first step, of given weights or of fresh ones, on all devices."""
    if experiment.train.start_pairs and initial is None:
        raise ValueError(
            "start_pairs says what the weights to start from have seen: give them by --init."
        )
    if initial is None or partial:
        variables = init_variables(experiment.model, jax.random.key(experiment.train.seed))
    if partial:
        variables = fitting(variables, initial.variables)
    elif initial:
        variables = initial.variables
    optimizer, first = optimizer_of(experiment), experiment.first_step
    state = jax.device_get(make_state(variables, optimizer, first))
    # A copy, since steps take over the arrays of their state and those given stay the caller's.
    return jax.device_put(state, devices.whole(mesh), may_alias=False)


def fitting(fresh: PyTree, given: PyTree) -> PyTree:
    """fresh, with those layers of given whose arrays all have the same names and shapes; says how
    much that is. A convolution and its norm are one layer: statistics hold for its weights alone.

    Raises ValueError where no layer fits.
    """

    def layer(name):  # (collection, module, ..., convolution or norm, array)
        return name[1:-2]

    new, old = flatten_dict(fresh), flatten_dict(given)
    unlike = {layer(n) for n, x in new.items() if n not in old or old[n].shape != x.shape}
    taken = {name: old[name] for name in new if layer(name) not in unlike}
    if not taken:
        raise ValueError("No layer of the weights to start from has names and shapes of the model.")
    if devices.is_first():
        say(
            f"Started from {len(taken)} of the {len(old)} arrays given; of the model's {len(new)} "
            f"fresh: {', '.join(sorted(map('/'.join, unlike))) or 'none'}."
        )
    return unflatten_dict(new | taken)


def like_state(experiment: Experiment, mesh: Mesh) -> TrainState:
    """Shapes and places of a state's arrays."""
    shapes = jax.eval_shape(
        lambda: make_state(
            init_variables(experiment.model, jax.random.key(0)), optimizer_of(experiment)
        )
    )
    place = devices.whole(mesh)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes)
