"""Small systems of linear equations, one for each match, number by number.

A system of six unknowns for thousands of matches: each number is a vector over the matches, which
a CPU works through faster than through thousands of small matrices.
"""

import jax.numpy as jnp

from pallas_kernels.arrays import Array


def cholesky(matrix: list[list[Array]]) -> list[list[Array]]:
    """The lower factor of matrices [k] given by their lower triangles, number by number."""
    factor = []
    for i, row in enumerate(matrix):
        factor.append([])
        for j, number in enumerate(row):
            above = factor[j]
            rest = number - sum(factor[i][k] * above[k] for k in range(j))
            last = jnp.sqrt(jnp.maximum(rest, 1e-9)) if i == j else rest / above[j]
            factor[i].append(last)
    return factor


def solve(factor: list[list[Array]], right: list[Array]) -> list[Array]:
    """x of (factor factor^T) x = right."""
    n, x = len(right), list(right)
    for i in range(n):
        x[i] = (x[i] - sum(factor[i][k] * x[k] for k in range(i))) / factor[i][i]
    for i in reversed(range(n)):
        x[i] = (x[i] - sum(factor[k][i] * x[k] for k in range(i + 1, n))) / factor[i][i]
    return x
