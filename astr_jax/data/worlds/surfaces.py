"""The surfaces of a world, and where rays meet them: exactly, by closed forms and safe steps.

A world has boxes and ellipsoids, and below them a terrain z = height(x, y), a sum of waves. z is
up; the unit is about a metre. Rays are origin + t * direction; with directions of unit depth
(camera z = 1), t is the z-depth. Vectors are [3 n], so that each coordinate is one long row.
"""

import functools
import operator

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from pallas_kernels.arrays import Array

RANGE = 60.0  # farther terrain is lost in the haze
STEPS = 24  # of a ray towards the terrain
NEAREST = 1e-3


@flax.struct.dataclass
class Solids:
    """Boxes and ellipsoids, p of them. Local coordinates are +-1 on the surface."""

    centre: Float[Array, "*p 3"]
    turn: Float[Array, "*p 3 3"]  # local axes as rows
    half: Float[Array, "*p 3"]  # half sides, or half axes
    round: Bool[Array, "*p"]  # an ellipsoid, else a box
    hollow: Bool[Array, "*p"]  # seen from inside: a room
    used: Bool[Array, "*p"]


@flax.struct.dataclass
class Terrain:
    """height(x, y) = level + sum of amplitude * wave(kx x + ky y + phase)."""

    level: Float[Array, "*b"]
    waves: Float[Array, "*b w 4"]  # kx, ky (cycles per unit), phase (cycles), amplitude


@flax.struct.dataclass
class Scene:
    """All surfaces. Surface i < p is solid i, surface p the terrain, surface p + 1 the sky."""

    solids: Solids
    terrain: Terrain

    @property
    def sky(self) -> int:
        return self.solids.half.shape[0] + 1


def rotate(matrix: Float[Array, "3 3"], vector: Float[Array, "3 n"]) -> Float[Array, "3 n"]:
    """matrix @ vector, in full float32 whatever the device's default."""
    return jnp.stack([dot(row, vector) for row in matrix])


def terrain_height(terrain: Terrain, x: Array, y: Array) -> tuple[Array, Array, Array]:
    """Returns height and its slopes along x and y. A wave is a sine made of parabolas."""
    height, slope_x, slope_y = jnp.broadcast_to(terrain.level, x.shape), 0.0, 0.0
    for kx, ky, phase, amplitude in terrain.waves:
        s = kx * x + ky * y + phase
        s = s - jnp.floor(s) - 0.5
        height += amplitude * 16 * s * (0.5 - jnp.abs(s))
        slope = amplitude * (8 - 32 * jnp.abs(s))
        slope_x, slope_y = slope_x + slope * kx, slope_y + slope * ky
    return height, slope_x, slope_y


def trace(
    scene: Scene, origin: Float[Array, "3 #n"], direction: Float[Array, "3 n"]
) -> tuple[Float[Array, " n"], Int[Array, " n"], Bool[Array, " n"]]:
    """Returns (t, surface, known) where each ray first meets a surface.

    Sky has t = inf. Not known: the sky, and terrain met at so flat an angle that the steps did not
    end on it; its t is then only near.
    """
    t, surface = trace_solids(scene.solids, origin, direction)
    below, known = trace_terrain(scene.terrain, origin, direction)
    first = below < t
    surface = jnp.where(first, scene.sky - 1, surface)
    t = jnp.minimum(t, below)
    return t, jnp.where(jnp.isfinite(t), surface, scene.sky), jnp.isfinite(t) & (known | ~first)


def trace_solids(solids: Solids, origin, direction) -> tuple[Array, Array]:
    """Returns (t, index) of the first solid on each ray; t = inf where there is none."""

    def nearer(best, entry):
        solid, index = entry

        def meeting(meet):
            def update():
                t = meet(solid, origin, direction)
                closer = t < best[0]
                return jnp.where(closer, t, best[0]), jnp.where(closer, index, best[1])

            return update

        sort = jnp.where(solid.used, 1 + solid.round.astype(jnp.int32), 0)
        return jax.lax.switch(sort, (lambda: best, meeting(meet_box), meeting(meet_ball))), None

    n = jnp.broadcast_shapes(origin[0].shape, direction[0].shape)
    start = jnp.full(n, jnp.inf), jnp.zeros(n, jnp.int32)
    indices = jnp.arange(solids.half.shape[0], dtype=jnp.int32)
    return jax.lax.scan(nearer, start, (solids, indices))[0]


def local_rays(solid: Solids, origin, direction) -> tuple[list[Array], list[Array]]:
    """Origins and directions in a solid's coordinates, +-1 on its surface."""
    scaled = solid.turn / solid.half[:, None]
    away = [p - c for p, c in zip(origin, solid.centre, strict=True)]
    return [dot(row, away) for row in scaled], [dot(row, direction) for row in scaled]


# Both are written coordinate by coordinate, so that they compile to few loops over the rays.
def meet_box(solid: Solids, origin, direction) -> Float[Array, " n"]:
    """Returns t where rays enter a box, or leave it where it is hollow; inf where they miss."""
    o, d = local_rays(solid, origin, direction)
    inverse = [1 / jnp.where(jnp.abs(x) < 1e-9, 1e-9, x) for x in d]
    middles = [-p * i for p, i in zip(o, inverse, strict=True)]
    widths = [jnp.abs(i) for i in inverse]
    enter = functools.reduce(jnp.maximum, map(operator.sub, middles, widths))
    leave = functools.reduce(jnp.minimum, map(operator.add, middles, widths))
    return between(solid, enter, leave)


def meet_ball(solid: Solids, origin, direction) -> Float[Array, " n"]:
    """Returns t where rays enter an ellipsoid, or leave a hollow one; inf where they miss."""
    o, d = local_rays(solid, origin, direction)
    shrink = 1 / dot(d, d)
    middle = -dot(o, d) * shrink
    offset = [p + middle * x for p, x in zip(o, d, strict=True)]  # centre to nearest point
    reach = jnp.sqrt(jnp.maximum(1 - dot(offset, offset), 0.0) * shrink)
    return between(solid, middle - reach, middle + reach)


def between(solid: Solids, enter, leave) -> Float[Array, " n"]:
    t = jnp.where(solid.hollow, leave, enter)
    return jnp.where((enter < leave) & (t > NEAREST), t, jnp.inf)


def held(values):
    """Returns the values, computed once.

    XLA on a CPU fuses long chains into each of their uses and computes them anew there, through an
    optimization barrier too, but never out of a conditional: this is five times faster.
    """
    first = jax.tree.leaves(values)[0].ravel()[0]
    same = first == first  # not known to the compiler
    return jax.lax.cond(same, lambda x: x, lambda x: jax.tree.map(jnp.zeros_like, x), values)


def dot(a, b) -> Array:
    """Sum of the products of three coordinates."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def trace_terrain(terrain: Terrain, origin, direction) -> tuple[Array, Array]:
    """Returns (t, known). Steps no longer than the steepest slope allows, then Newton's.

    The first steps never pass through the ground; known tells that the last ones ended on it.
    """
    steepest = (8 * jnp.abs(terrain.waves[:, 3]) * jnp.hypot(*terrain.waves[:, :2].T)).sum()
    fall = -direction[2] + steepest * jnp.hypot(direction[0], direction[1])
    falls = fall > 1e-6
    rate = 1 / jnp.where(falls, fall, 1.0)

    def above(t):
        x, y, z = origin + t * direction
        height, slope_x, slope_y = terrain_height(terrain, x, y)
        speed = direction[2] - slope_x * direction[0] - slope_y * direction[1]
        return z - height, speed

    def step(_, t):
        return jnp.minimum(t + jnp.maximum(above(t)[0], 0.0) * rate, RANGE)

    # The first step alone ends on even ground.
    steps = jnp.where(steepest > 0, STEPS, 1)
    t = jax.lax.fori_loop(0, steps, step, jnp.zeros_like(direction[0]))
    near = t
    for _ in range(3):
        gap, speed = above(t)
        t = t - gap / jnp.minimum(speed, -1e-3)
    known = (jnp.abs(above(t)[0]) < 3e-6 * (1 + t)) & (jnp.abs(t - near) < 0.05 * near)
    t = jnp.where(known, t, near)
    return jnp.where(falls & (near < RANGE) & (t > NEAREST), t, jnp.inf), known


def clearance(scene: Scene, points: Float[Array, "3 n"]) -> Float[Array, " n"]:
    """Returns about how far points are from the nearest surface; negative on the wrong side."""

    def one(solid):
        local = rotate(solid.turn, points - solid.centre[:, None])
        half = solid.half[:, None]
        box = (jnp.abs(local) - half).max(axis=0)
        ball = (jnp.linalg.norm(local / half, axis=0) - 1) * solid.half.min()
        outside = jnp.where(solid.round, ball, box) * jnp.where(solid.hollow, -1.0, 1.0)
        return jnp.where(solid.used, outside, jnp.inf)

    height, _, _ = terrain_height(scene.terrain, points[0], points[1])
    return jnp.minimum(jax.vmap(one)(scene.solids).min(axis=0), points[2] - height)
