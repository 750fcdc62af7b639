"""Systems of equations, number by number, are solved as numpy solves them."""

import jax.numpy as jnp
import numpy as np

from astr_jax.ops.cholesky import cholesky, solve


def test_each_column_is_a_system_of_its_own(rng):
    root = rng.normal(size=(5, 4, 4))
    matrices, right = root @ root.transpose(0, 2, 1) + np.eye(4), rng.normal(size=(5, 4))
    columns = jnp.float32(matrices.transpose(1, 2, 0))
    factor = cholesky([[columns[i, j] for j in range(i + 1)] for i in range(4)])
    found = np.stack(solve(factor, list(jnp.float32(right.T))), axis=-1)
    expected = np.linalg.solve(matrices, right[..., None])[..., 0]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
