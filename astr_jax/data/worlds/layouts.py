"""The kinds of scenes, each drawn from a key: all fill the same arrays, so one program does."""

from collections.abc import Sequence

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from astr_jax.data.worlds.draw import Draw
from astr_jax.data.worlds.surfaces import Scene, Solids, Terrain
from pallas_kernels.arrays import Array

KINDS = ("street", "facade", "room", "ground", "hills", "planes", "spheres")
SOLIDS = 20  # places for boxes and ellipsoids in every scene
WAVES = 3  # of the terrain
PLAIN, HOUSE, WALL = 0, 1, 2  # what a solid is covered with: see shading.draw_materials


@flax.struct.dataclass
class Bodies:
    """Some solids of a scene, p of them, before they are put together."""

    centre: Float[Array, "*b p 3"]
    half: Float[Array, "*b p 3"]
    angles: Float[Array, "*b p 2"]  # about z, then about the turned x, radians
    round: Bool[Array, "*b p"]
    cover: Int[Array, "*b p"]
    hollow: Bool[Array, "*b p"]
    used: Bool[Array, "*b p"]


@flax.struct.dataclass
class Layout:
    """A scene and where to stand and look in it: boxes of points, lowest and highest corner."""

    scene: Scene
    cover: Int[Array, "*b p"]
    eyes: Float[Array, "*b 2 3"]
    targets: Float[Array, "*b 2 3"]


def points(x, y, z) -> Float[Array, "*p 3"]:
    return jnp.stack(jnp.broadcast_arrays(*map(jnp.asarray, (x, y, z))), axis=-1)


def bodies(centre, half, *, yaw=0.0, tilt=0.0, round=False, cover=PLAIN, hollow=False, used=True):
    """Bodies of one sort; what is given once holds for all."""
    count = centre.shape[0]

    def each(value, dtype):
        return jnp.broadcast_to(jnp.asarray(value, dtype), (count,))

    angles = jnp.stack([each(yaw, jnp.float32), each(tilt, jnp.float32)], axis=-1)
    return Bodies(
        centre,
        jnp.broadcast_to(half, centre.shape),
        angles,
        each(round, bool),
        each(cover, jnp.int32),
        each(hollow, bool),
        each(used, bool),
    )


def assemble(
    draw: Draw, parts: Sequence[Bodies], eyes, targets, *, level=0.0, relief=0.0, wavelength=8.0
) -> Layout:
    """Puts a layout together. relief: the terrain's largest height above its level."""
    count = sum(part.half.shape[0] for part in parts)
    rest = bodies(jnp.zeros((SOLIDS - count, 3)), jnp.ones(3), used=False)
    every = jax.tree.map(lambda *x: jnp.concatenate(x), *parts, rest)
    (cos_yaw, cos_tilt), (sin_yaw, sin_tilt) = jnp.cos(every.angles.T), jnp.sin(every.angles.T)
    zero = jnp.zeros_like(cos_yaw)
    turn = jnp.stack(
        [
            points(cos_yaw, sin_yaw, zero),
            points(-sin_yaw * cos_tilt, cos_yaw * cos_tilt, sin_tilt),
            points(sin_yaw * sin_tilt, -cos_yaw * sin_tilt, cos_tilt),
        ],
        axis=1,
    )
    bearing = draw.uniform(0, 2 * jnp.pi, (WAVES,))
    frequency = draw.uniform(0.7, 1.4, (WAVES,)) * jnp.array([1.0, 1.4, 3.0]) / wavelength
    amplitude = relief * jnp.array([0.55, 0.35, 0.1])
    phase = draw.uniform(0, 1, (WAVES,))
    waves = jnp.stack(
        [frequency * jnp.cos(bearing), frequency * jnp.sin(bearing), phase, amplitude], axis=-1
    )
    solids = Solids(every.centre, turn, every.half, every.round, every.hollow, every.used)
    scene = Scene(solids, Terrain(jnp.asarray(level, jnp.float32), waves))
    corners = (
        jnp.stack([jnp.stack([jnp.asarray(x, jnp.float32) for x in c]) for c in box])
        for box in (eyes, targets)
    )
    return Layout(scene, every.cover, *corners)


def street(draw: Draw) -> Layout:
    """Two rows of houses with bays and balconies; boxes and round trees between them."""
    wide = draw.uniform(2.8, 5.0)
    side = jnp.repeat(jnp.array([-1.0, 1.0]), 3)
    deep = draw.uniform(1.5, 3.0, (6,))
    tall = draw.uniform(2.5, 5.5, (6,))
    along = jnp.tile(jnp.array([-7.0, 0.5, 8.0]), 2) + draw.uniform(-0.7, 0.7, (6,))
    face = wide + draw.uniform(0, 0.8, (6,))  # how far a house stands from the street's middle
    houses = bodies(
        points(along, side * (face + deep), tall),
        points(draw.uniform(3.2, 3.8, (6,)), deep, tall),
        cover=HOUSE,
    )
    of = jnp.array([0, 1, 1, 2, 3, 4, 4, 5])
    bay = points(
        draw.uniform(0.3, 1.2, (8,)), draw.uniform(0.3, 0.7, (8,)), draw.uniform(0.15, 1.2, (8,))
    )
    bays = bodies(
        points(
            along[of] + draw.uniform(-2.2, 2.2, (8,)),
            side[of] * face[of],
            tall[of] * draw.uniform(0.6, 1.5, (8,)),
        ),
        bay,
        cover=WALL,
    )
    size = draw.uniform(0.35, 0.9, (3,))
    things = bodies(
        points(
            draw.uniform(-4, 7, (3,)), draw.side((3,)) * draw.uniform(0.5, 0.85, (3,)) * wide, size
        ),
        points(size * draw.uniform(0.6, 1.6, (3,)), size, size),
        yaw=draw.uniform(0, 3.1, (3,)),
    )
    crown = draw.uniform(0.7, 1.3, (2,))
    trees = bodies(
        points(draw.uniform(-3, 8, (2,)), draw.side((2,)) * 0.7 * wide, 2.2 + crown),
        points(crown, crown, crown * 1.2),
        round=True,
        used=draw.chance(0.5, (2,)),
    )
    eyes = ((-10.0, -0.6 * wide, 1.4), (-3.0, 0.6 * wide, 4.0))
    targets = ((0.0, -wide, 1.0), (9.0, wide, 4.0))
    return assemble(draw, [houses, bays, things, trees], eyes, targets)


def facade(draw: Draw) -> Layout:
    """A wall with rows of equal bays, pillars, and things before it."""
    wide, tall = draw.uniform(6.5, 9.0), draw.uniform(3.5, 5.5)
    wall = bodies(points([0.0], [7.0], tall), points([wide], [1.0], tall), cover=HOUSE)
    column, row = jnp.meshgrid(*(jnp.arange(n, dtype=jnp.float32) for n in (4, 3)))
    column -= 1.5
    pitch, storey = wide * draw.uniform(0.38, 0.48), tall * draw.uniform(0.5, 0.62)
    bay = points(
        draw.uniform(0.4, 1.2)[None], draw.uniform(0.2, 0.8)[None], draw.uniform(0.1, 0.9)[None]
    )
    rows = bodies(
        points(column.ravel() * pitch, 6.0, 1.0 + row.ravel() * storey),
        bay,
        cover=WALL,
        used=draw.chance(0.85, (12,)),
    )
    pillars = bodies(
        points(draw.uniform(-1, 1, (3,)) * wide, 5.9, tall),
        points(draw.uniform(0.2, 0.45), draw.uniform(0.2, 0.5), tall)[None],
        cover=WALL,
        used=draw.chance(0.6, (3,)),
    )
    size = draw.uniform(0.35, 1.0, (3,))
    things = bodies(
        points(draw.uniform(-6, 6, (3,)), draw.uniform(2.0, 5.0, (3,)), size),
        points(size * draw.uniform(0.7, 1.5, (3,)), size, size),
        yaw=draw.uniform(0, 3.1, (3,)),
        round=draw.chance(0.4, (3,)),
    )
    eyes = ((-6.0, -5.0, 1.2), (6.0, -0.5, 4.5))
    targets = ((-4.0, 6.0, 1.5), (4.0, 6.0, 5.5))
    return assemble(draw, [wall, rows, pillars, things], eyes, targets)


def room(draw: Draw) -> Layout:
    """Four walls, floor and ceiling, furniture, and pictures on the walls."""
    half = points(draw.uniform(2.8, 4.5), draw.uniform(2.8, 4.5), draw.uniform(1.4, 1.9))
    x, y, z = half
    shell = bodies(points(0.0, 0.0, z)[None], half[None], hollow=True, cover=WALL)
    size = points(
        draw.uniform(0.25, 0.9, (10,)),
        draw.uniform(0.25, 0.7, (10,)),
        draw.uniform(0.2, 0.8, (10,)),
    )
    share = draw.side((10, 2)) * jnp.sqrt(draw.uniform(0.1, 0.95, (10, 2)))
    base = jnp.where(draw.chance(0.25, (10,)), draw.uniform(0.4, 1.2, (10,)), 0.0)
    furniture = bodies(
        points(share[:, 0] * x, share[:, 1] * y, base + size[:, 2]),
        size,
        yaw=draw.uniform(-0.3, 0.3, (10,)) * draw.chance(0.5, (10,)).astype(jnp.float32),
        round=draw.chance(0.15, (10,)),
    )
    wide, high = draw.uniform(0.3, 0.9, (6,)), draw.uniform(0.25, 0.6, (6,))
    on_x = jnp.arange(6) % 2 == 0
    side, shift = draw.side((6,)), draw.uniform(-0.7, 0.7, (6,))
    pictures = bodies(
        points(
            jnp.where(on_x, jnp.where(side > 0, x, -x), shift * x),
            jnp.where(on_x, shift * y, jnp.where(side > 0, y, -y)),
            z * draw.uniform(0.9, 1.4, (6,)),
        ),
        points(jnp.where(on_x, 0.04, wide), jnp.where(on_x, wide, 0.04), high),
    )
    eyes = ((-0.85 * x, -0.8 * y, 0.8), (-0.2 * x, 0.8 * y, 1.5 * z))
    targets = ((0.3 * x, -0.7 * y, 0.3), (x, 0.7 * y, 1.3 * z))
    return assemble(draw, [shell, furniture, pictures], eyes, targets, level=-1.0)


def ground(draw: Draw) -> Layout:
    """Boxes and round things scattered on a nearly even ground."""
    size = points(*draw.uniform(0.3, 1.1, (3, 14)))
    radius, bearing = 6 * jnp.sqrt(draw.uniform(0.02, 1, (14,))), draw.uniform(0, 6.28, (14,))
    round = draw.chance(0.25, (14,))
    things = bodies(
        points(radius * jnp.cos(bearing), radius * jnp.sin(bearing), size[:, 2]),
        size,
        yaw=draw.uniform(0, 3.1, (14,)),
        tilt=jnp.where(draw.chance(0.2, (14,)), draw.uniform(-0.8, 0.8, (14,)), 0.0),
        round=round,
    )
    eyes = ((-5.0, -9.0, 1.5), (5.0, -5.0, 6.0))
    targets = ((-3.0, -2.0, 0.0), (3.0, 3.0, 1.0))
    relief = draw.uniform(0.0, 0.15)
    return assemble(draw, [things], eyes, targets, relief=relief)


def hills(draw: Draw) -> Layout:
    """A height field seen from above, with some houses and rocks."""
    size = points(*draw.uniform(0.3, 1.0, (3, 8)))
    round = draw.chance(0.5, (8,))
    things = bodies(
        points(draw.uniform(-6, 6, (8,)), draw.uniform(-5, 6, (8,)), draw.uniform(-0.2, 0.8, (8,))),
        size,
        yaw=draw.uniform(0, 3.1, (8,)),
        round=round,
        cover=jnp.where(round, PLAIN, HOUSE),
        used=draw.chance(0.6, (8,)),
    )
    eyes = ((-5.0, -9.0, 3.5), (5.0, -4.0, 8.0))
    targets = ((-3.0, -1.0, 0.0), (3.0, 4.0, 0.5))
    wavelength = draw.uniform(7.0, 12.0)
    relief = wavelength * draw.uniform(0.05, 0.12)
    return assemble(draw, [things], eyes, targets, relief=relief, wavelength=wavelength)


def planes(draw: Draw) -> Layout:
    """Large thin slabs, slanted at will, one before the other."""
    slabs = bodies(
        points(draw.uniform(-5, 5, (9,)), draw.uniform(-1, 7, (9,)), draw.uniform(0.5, 4.5, (9,))),
        points(draw.uniform(1.0, 3.2, (9,)), draw.uniform(1.0, 3.2, (9,)), 0.04),
        yaw=draw.uniform(-0.9, 0.9, (9,)),
        tilt=draw.uniform(0.2, 2.6, (9,)),
        used=draw.chance(0.8, (9,)),
    )
    back = bodies(
        points([0.0], [9.5], 4.0),
        points([14.0], [0.3], 6.0),
        used=draw.chance(0.6, (1,)),
        cover=WALL,
    )
    eyes = ((-4.0, -8.5, 1.5), (4.0, -5.0, 5.0))
    targets = ((-2.0, 1.0, 1.0), (2.0, 4.0, 3.5))
    return assemble(draw, [slabs, back], eyes, targets)


def spheres(draw: Draw) -> Layout:
    """Balls and ellipsoids, some lying, some in the air, with a wall behind."""
    size = draw.uniform(0.5, 1.7, (12,))
    air = jnp.where(draw.chance(0.35, (12,)), draw.uniform(0.5, 3.5, (12,)), 0.0)
    stretch = points(*draw.uniform(0.75, 1.0, (3, 12)))
    balls = bodies(
        points(draw.uniform(-5, 5, (12,)), draw.uniform(-3, 5, (12,)), size + air),
        size[:, None] * stretch,
        yaw=draw.uniform(0, 3.1, (12,)),
        round=True,
        used=draw.chance(0.8, (12,)),
    )
    back = bodies(
        points([0.0], [8.0], 4.0),
        points([12.0], [0.5], 5.0),
        used=draw.chance(0.7, (1,)),
        cover=WALL,
    )
    eyes = ((-4.0, -9.0, 1.5), (4.0, -6.0, 5.5))
    targets = ((-2.0, -1.0, 0.5), (2.0, 3.0, 2.5))
    return assemble(draw, [balls, back], eyes, targets)


def draw_layout(key: Array, kinds: tuple[str, ...]) -> tuple[Int[Array, ""], Layout]:
    """Draws a scene of one of the kinds; also returns which, as an index into KINDS."""
    makers = dict(zip(KINDS, (street, facade, room, ground, hills, planes, spheres), strict=True))
    key, kind_key = jax.random.split(key)
    choice = jax.random.randint(kind_key, (), 0, len(kinds))
    branches = [lambda key, make=makers[kind]: make(Draw(key)) for kind in kinds]
    number = jnp.array([KINDS.index(kind) for kind in kinds])[choice]
    return number, jax.lax.switch(choice, branches, key)
