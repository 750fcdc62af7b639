"""Types of numbers: every mixture of them is written down, in bfloat16 too."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from astr_jax.layers.dtypes import widened
from astr_jax.models.kinds import init_variables


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_model_needs_no_promotion_of_types(micro_config, dtype):
    """Traced alone: under strict promotion an unwritten mixture is an error."""
    assert jax.config.jax_numpy_dtype_promotion == "strict"
    config = dataclasses.replace(micro_config, dtype=dtype)
    jax.eval_shape(lambda key: init_variables(config, key), jax.random.key(0))


def test_the_widest_type_is_taken():
    low, high = jnp.ones(2, jnp.bfloat16), jnp.ones(2, jnp.float32)
    assert [x.dtype for x in widened(low, high)] == [jnp.float32, jnp.float32]
    assert [x.dtype for x in widened(low, low)] == [jnp.bfloat16, jnp.bfloat16]
