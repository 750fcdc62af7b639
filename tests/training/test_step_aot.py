"""What is compiled for a GPU that is not there is the training step."""

import jax

from astr_jax.training.aot import abstract_step


def test_the_shapes_are_those_that_the_step_takes_and_gives_back(micro_config):
    step, state, batch = abstract_step(micro_config, pairs=2, side=64)
    after, scores = jax.eval_shape(step, state, batch)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert jax.tree.leaves(after) == jax.tree.leaves(state)
    assert {"loss", "fine", "spot", "gradient_norm"} <= scores.keys()
