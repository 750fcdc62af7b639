"""How surfaces look: what covers them, the sun, cast shadows, shine, and the sky."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from astr_jax.data.photometry import PhotometricConfig
from astr_jax.data.worlds import atlas as atlases
from astr_jax.data.worlds.atlas import Atlas
from astr_jax.data.worlds.draw import Draw
from astr_jax.data.worlds.layouts import HOUSE, PLAIN, Layout
from astr_jax.data.worlds.surfaces import Scene, dot, held, terrain_height, trace_solids
from astr_jax.data.worlds.views import Camera
from pallas_kernels.arrays import Array

# The terrain's and the sky's box, level and far below, of which only the top is ever seen: turn,
# centre, half sides, round, which way the normal points.
EVEN = np.array([[1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, -1e6, 1e9, 1e9, 1e6, 0, 1]], np.float32)
SHAPE, TONE = EVEN.size, 11  # rows of the table: the first of the materials', the tone of these


@flax.struct.dataclass
class Materials:
    """What covers the m surfaces: a large texture, and a finer one mixed into it."""

    large: Int[Array, "*b m 3"]  # texture of the faces along each local axis
    fine: Int[Array, "*b m 3"]
    large_size: Float[Array, "*b m"]  # of one texture on the surface, units
    fine_size: Float[Array, "*b m"]
    shift: Float[Array, "*b m 2"]  # of both, units
    mix: Float[Array, "*b m"]  # share of the fine one
    tone: Float[Array, "*b m"]  # brightness
    gloss: Float[Array, "*b m"]


@flax.struct.dataclass
class Light:
    """One sun (or lamp) as one image is taken."""

    towards: Float[Array, "*b 3"]  # the sun, unit vector
    direct: Float[Array, "*b"]  # share of the light that comes from it
    shadow: Float[Array, "*b"]  # share of the direct light that shadows take
    sharpness: Float[Array, "*b"]  # of the shining spots


def draw_materials(key: Array, layout: Layout, atlas: Atlas) -> Materials:
    """Covers every surface with a photograph, and with windows, bricks, tiles or noise upon it."""
    draw = Draw(key)
    cover = jnp.concatenate([layout.cover, jnp.array([PLAIN, PLAIN])])  # the terrain, the sky
    m = cover.shape[0]
    terrain, sky = m - 2, m - 1

    def pick(start, count):
        return draw.integers(start, start + count, (m, 3))

    photo = pick(0, atlas.photos)
    windows, noise = (pick(atlas.family(name), atlases.PER_FAMILY) for name in ("windows", "noise"))
    stones = pick(atlas.family("tiles"), 2 * atlases.PER_FAMILY)  # tiles and bricks
    upright = jnp.arange(3) < 2  # a house has windows in its walls alone
    paved = (cover > PLAIN) | draw.chance(0.3, (m,))
    fine = jnp.where(paved[:, None], stones, noise)
    fine = jnp.where((cover == HOUSE)[:, None] & upright, windows, fine)
    half = jnp.concatenate([layout.scene.solids.half, jnp.full((2, 3), 2.0)])
    large_size = jnp.clip(half.max(axis=1) * draw.uniform(1.2, 2.4, (m,)), 1.2, 6.0)
    fine_size = jnp.where(cover > PLAIN, draw.uniform(1.5, 4.0, (m,)), draw.uniform(0.7, 2.0, (m,)))
    fine_size = jnp.where(cover == HOUSE, 1.7 * fine_size, fine_size)
    mix = jnp.where(cover > PLAIN, draw.uniform(0.25, 0.75, (m,)), draw.uniform(0.05, 0.4, (m,)))
    gloss = jnp.where(draw.chance(0.6, (m,)), 0.0, draw.uniform(0.1, 0.6, (m,)))
    return Materials(
        large=photo.at[sky].set(noise[sky]),
        fine=fine,
        large_size=large_size.at[sky].set(draw.uniform(0.8, 2.0)),
        fine_size=fine_size.at[terrain].multiply(1.5),
        shift=draw.uniform(-9.0, 9.0, (m, 2)),
        mix=mix.at[sky].set(0.0),
        tone=draw.uniform(0.5, 1.0, (m,)).at[sky].set(draw.uniform(0.8, 1.3)),
        gloss=gloss,
    )


def draw_light(key: Array, strength: Array, config: PhotometricConfig) -> Light:
    """Draws a sun not too low; overcast, with neither sun nor shadows, where chance says so."""
    draw = Draw(key)
    bearing, height = draw.uniform(0, 2 * jnp.pi), draw.uniform(0.45, 1.3)
    flat = jnp.cos(height)
    towards = jnp.stack([flat * jnp.cos(bearing), flat * jnp.sin(bearing), jnp.sin(height)])
    sunny = draw.chance(config.shadow_probability)
    direct = jnp.where(sunny, draw.uniform(0.5, 0.75), draw.uniform(0.2, 0.45))
    deepest = config.max_light_change * strength
    shadow = jnp.where(sunny, draw.uniform(0.3, 1.0) * deepest, 0.0) / direct
    return Light(towards, direct, jnp.minimum(shadow, 1.0), draw.uniform(8.0, 60.0))


def surface_table(scene: Scene, materials: Materials) -> Float[Array, "f m"]:
    """Everything about each surface that shading needs, a column each; see `unpack`."""
    solids = scene.solids
    outward = jnp.where(solids.hollow, -1.0, 1.0)
    shapes = [solids.turn.reshape(-1, 9), solids.centre, solids.half]
    shapes += [solids.round[:, None].astype(jnp.float32), outward[:, None]]
    shapes = jnp.concatenate([jnp.concatenate(shapes, axis=1), EVEN, EVEN])
    single = ("large_size", "fine_size", "mix", "tone", "gloss")
    covers = [materials.large, materials.fine, materials.shift]
    covers += [getattr(materials, name)[:, None] for name in single]
    covers = [cover.astype(jnp.float32) for cover in covers]
    return jnp.concatenate([shapes, *covers], axis=1).T


def shade(
    scene: Scene,
    table: Float[Array, "f m"],
    light: Light,
    atlas: Atlas,
    camera: Camera,
    direction: Float[Array, "3 n"],
    t: Float[Array, " n"],
    surface: Int[Array, " n"],
) -> Float[Array, " n"]:
    """Returns how bright the surface is that each ray meets at t, about 0 to 1."""
    # A product with a one-hot matrix reads the table faster than gathers do.
    which = surface == jnp.arange(scene.sky + 1)[:, None]
    row = jnp.dot(table, which.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST)
    sky = which[scene.sky]
    length = jnp.sqrt(dot(direction, direction))
    seen = [d / length for d in direction]
    t = jnp.where(sky, 1.0, t)
    place = held([e + t * d for e, d in zip(camera.eye, direction, strict=True)])
    normal, axis, u, v = held(face(scene, row, which[scene.sky - 1], place))
    # What one pixel sees is t / focal wide and 1 / facing as long: between the two.
    facing = jnp.maximum(jnp.abs(dot(normal, seen)), 0.02)
    footprint = jnp.where(sky, 1.0, t * length * facing**-0.7) / camera.K[0, 0]
    lift = 0.3 + jnp.abs(seen[2])
    u, v = jnp.where(sky, seen[0] / lift, u), jnp.where(sky, seen[1] / lift, v)
    bright, gloss = held(albedo(row[SHAPE:], atlas, axis, u, v, footprint))

    towards = light.towards
    start = jnp.stack([p + 0.02 * x for p, x in zip(place, normal, strict=True)])
    blocked = in_shadow(scene, light, start)
    sun = jnp.maximum(dot(normal, towards), 0.0) * (1 - light.shadow * blocked)
    between = [a - b for a, b in zip(towards, seen, strict=True)]
    mirror = jnp.maximum(dot(normal, between), 0.0) * jax.lax.rsqrt(dot(between, between) + 1e-6)
    shine = gloss * mirror**light.sharpness * (1 - blocked)
    lit = bright * (1 - light.direct + 1.6 * light.direct * sun) + shine * light.direct
    # Clouds are faint, and fade towards the horizon.
    air = row[SHAPE + TONE] * (0.9 + 0.5 * jnp.abs(seen[2]) * (bright - 0.5))
    return jnp.where(sky, air, lit)


def in_shadow(scene: Scene, light: Light, start: Float[Array, "3 n"]) -> Float[Array, " n"]:
    """1 where a solid stands between a point and the sun, else 0; traced only under a sun."""

    def traced():
        solids = scene.solids.replace(used=scene.solids.used & ~scene.solids.hollow)
        return jnp.isfinite(trace_solids(solids, start, light.towards[:, None])[0])

    blocked = jax.lax.cond(light.shadow > 0, traced, lambda: jnp.zeros(start.shape[1], bool))
    return blocked.astype(jnp.float32)


def face(scene: Scene, row, terrain, place) -> tuple[list[Array], Array, Array, Array]:
    """Returns (normal, axis, u, v): the face a point lies on, and where on it, in units.

    Ellipsoids have the faces of the box around them, so that textures lie on them in six pieces.
    The terrain counts as the top of an endless box.
    """
    turn, centre, half = (row[:3], row[3:6], row[6:9]), row[9:12], row[12:15]
    rounded, outward = row[15] > 0, row[16]
    away = [p - c for p, c in zip(place, centre, strict=True)]
    local = [dot(each, away) for each in turn]
    scaled = [p / h for p, h in zip(local, half, strict=True)]
    size = [jnp.abs(p) for p in scaled]
    on_x = (size[0] >= size[1]) & (size[0] >= size[2])
    on_y = ~on_x & (size[1] >= size[2])
    on = (on_x, on_y, ~(on_x | on_y))
    curved = [p / h for p, h in zip(scaled, half, strict=True)]
    steep = jax.lax.rsqrt(dot(curved, curved))
    chosen = [
        outward * jnp.where(rounded, c * steep, jnp.where(here, jnp.sign(p), 0.0))
        for c, p, here in zip(curved, scaled, on, strict=True)
    ]
    _, slope_x, slope_y = terrain_height(scene.terrain, place[0], place[1])
    rise = jax.lax.rsqrt(slope_x**2 + slope_y**2 + 1)
    ground = (-slope_x * rise, -slope_y * rise, rise)
    normal = [
        jnp.where(terrain, g, dot(column, chosen))
        for g, column in zip(ground, zip(*turn, strict=True), strict=True)
    ]
    u = jnp.where(on_x, local[1] + 1.7 * jnp.sign(local[0]), local[0])
    v = jnp.where(on_x | on_y, local[2] + jnp.where(on_y, 1.3 * jnp.sign(local[1]), 0.0), local[1])
    return normal, jnp.where(on_x, 0, jnp.where(on_y, 1, 2)), u, v


def albedo(row, atlas: Atlas, axis, u, v, footprint) -> tuple[Array, Array]:
    """Returns (colour, gloss). Two textures are mixed so that the contrast stays."""
    large, fine = row[0:3], row[3:6]
    u, v = u + row[6], v + row[7]
    large_size, fine_size, mix, tone, gloss = row[8:13]
    parts = []
    for choices, size in ((large, large_size), (fine, fine_size)):
        texture = jnp.where(axis == 0, choices[0], jnp.where(axis == 1, choices[1], choices[2]))
        lod = jnp.log2(footprint / size * atlas.side)
        # Pictures on walls stand upright: v grows upwards, rows downwards.
        texture = texture.astype(jnp.int32)
        parts.append(atlases.sample(atlas, texture, u / size, -v / size, lod) - atlases.MEAN)
    keep = jax.lax.rsqrt(mix**2 + (1 - mix) ** 2)
    mixed = 0.5 + keep * ((1 - mix) * parts[0] + mix * parts[1])
    return tone * jnp.clip(mixed, 0.03, 1.0), gloss
