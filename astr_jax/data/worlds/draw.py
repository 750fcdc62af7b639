"""Random numbers for all that is drawn in a world."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Int

from pallas_kernels.arrays import Array


class Draw:
    """Random numbers: each call takes the next ones of a row drawn at once.

    Compiling one generator for each call would take several times as long.
    """

    def __init__(self, key: Array, numbers: int = 512):
        row, self._key = jax.random.split(key)
        self._row, self._taken, self._given = jax.random.uniform(row, (numbers,)), 0, 0

    def uniform(self, low, high, shape: tuple[int, ...] = ()) -> Array:
        start, self._taken = self._taken, self._taken + math.prod(shape)
        if self._taken > self._row.size:
            raise ValueError(f"There are {self._row.size} numbers to draw; give Draw more of them.")
        return low + (high - low) * self._row[start : self._taken].reshape(shape)

    def side(self, shape: tuple[int, ...] = ()) -> Array:
        """-1 or 1."""
        return jnp.where(self.chance(0.5, shape), 1.0, -1.0)

    def chance(self, probability: float, shape: tuple[int, ...] = ()) -> Array:
        return self.uniform(0.0, 1.0, shape) < probability

    def integers(self, low: int, high: int, shape: tuple[int, ...] = ()) -> Int[Array, "..."]:
        """From low up to, and without, high."""
        drawn = jnp.floor(self.uniform(low, high, shape)).astype(jnp.int32)
        return jnp.minimum(drawn, high - 1)  # where rounding reached high

    def key(self) -> Array:
        self._given += 1
        return jax.random.fold_in(self._key, self._given)
