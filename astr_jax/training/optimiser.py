"""The learning rate over a run, and the optimiser that follows it.

Both count steps as Optax does, which needs JAX's standard promotion of types; here alone.
"""

import functools
from collections.abc import Callable

import jax
import optax

from astr_jax.training.experiment import Experiment, TrainConfig


def schedule_of(experiment: Experiment) -> optax.Schedule:
    """The run's learning rate at a step."""
    return _promoting(make_schedule(experiment.train, experiment.pairs, experiment.pairs_before))


def optimizer_of(experiment: Experiment) -> optax.GradientTransformation:
    """One optimiser for the whole run. It counts the steps that it does itself."""
    schedule, first = schedule_of(experiment), experiment.first_step
    return make_optimizer(experiment.train, lambda count: schedule(first + count))


def _promoting(function: Callable) -> Callable:
    """The same function, under standard promotion."""

    @functools.wraps(function)
    def promoting(*args, **kwargs):
        with jax.numpy_dtype_promotion("standard"):
            return function(*args, **kwargs)

    return promoting


def make_schedule(config: TrainConfig, total_pairs: int, pairs_before) -> optax.Schedule:
    """The learning rate of a step: a linear warm-up, then a cosine, or halvings at given pairs.

    A run that goes on from weights alone, at start_pairs, warms up again, as its optimiser starts
    anew. pairs_before(step): the pairs that the run sees before it.
    """
    peak, warmup = config.learning_rate, max(1, config.warmup_pairs)
    first = config.warmup_from * peak
    if config.halve_at:
        halvings = {pairs - warmup: 0.5 for pairs in config.halve_at}
        stages = [
            optax.linear_schedule(first, peak, warmup),
            optax.piecewise_constant_schedule(peak, halvings),
        ]
        by_pairs = optax.join_schedules(stages, [warmup])
    else:
        end = max(total_pairs, warmup + 1)
        least = config.least_learning_rate
        by_pairs = optax.warmup_cosine_decay_schedule(first, peak, warmup, end, least)
    if not config.start_pairs:
        return lambda step: by_pairs(pairs_before(step))
    again = optax.linear_schedule(config.warmup_from, 1.0, warmup, config.start_pairs)
    return lambda step: by_pairs(pairs_before(step)) * again(pairs_before(step))


def make_optimizer(config: TrainConfig, schedule: optax.Schedule):
    """AdamW, its gradient clipped."""

    def decayed(params):
        return jax.tree.map(lambda p: p.ndim > 1, params)  # norms and biases are left alone

    made = optax.chain(
        optax.clip_by_global_norm(config.clip),
        optax.adamw(schedule, weight_decay=config.weight_decay, mask=decayed),
    )
    return optax.GradientTransformation(made.init, _promoting(made.update))
