"""Renders pairs of images of random worlds, with exact depth, pose and intrinsics.

All in JAX, on the device, from keys alone: no files, and the same key gives the same pairs.
"""

import functools

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from astr_jax.data.worlds.atlas import Atlas
from astr_jax.data.worlds.config import EXACT_TOLERANCE, WorldConfig
from astr_jax.data.worlds.layouts import draw_layout
from astr_jax.data.worlds.sensor import take_picture
from astr_jax.data.worlds.shading import Light, draw_light, draw_materials, shade, surface_table
from astr_jax.data.worlds.surfaces import Scene, held, rotate, trace
from astr_jax.data.worlds.views import Camera, draw_cameras
from astr_jax.supervision import DepthTruth, PairBatch
from pallas_kernels.arrays import Array

EVEN_ROW = 1024  # XLA on a CPU is ten times slower on rows of odd lengths


@flax.struct.dataclass
class Shots:
    """All that one pair of images shows, before it is rendered."""

    kind: Int[Array, "*b"]
    scene: Scene
    table: Float[Array, "*b f m"]  # of the surfaces
    cameras: Camera  # leading axis 2, as for all below
    lights: Light
    keys: Array  # of what the sensor does


@functools.partial(jax.jit, static_argnames=("config", "batch", "at_once"))
def render_pairs(
    key: Array,
    textures: Atlas,
    difficulty: Float[Array, ""],
    *,
    config: WorldConfig,
    batch: int,
    at_once: int | None = None,
) -> tuple[PairBatch, Int[Array, " b"]]:
    """Renders a batch of pairs; difficulty in [0, 1].

    key: one for all pairs, or an array [b] of each pair's own.
    at_once: how many images are rendered side by side, for a given memory; it changes no pixel.
    None: one on a CPU, where this is fastest, all of them elsewhere.

    Returns the pairs, and of each the number of its kind in layouts.KINDS. Depth is exact at the
    pixels' centres, and 0 where there is sky or it is not known.
    """
    # Rays are [3 n], surfaces [s 1], a number of a scene []: ranks are promoted on purpose.
    with jax.numpy_rank_promotion("allow"):
        keys = jax.random.split(key, batch) if key.ndim == 0 else key
        shots = jax.vmap(lambda k: draw_shots(k, textures, difficulty, config))(keys)
        if at_once is None:
            at_once = 1 if jax.default_backend() == "cpu" else 2 * batch

        def flat(x):
            return x.reshape(2 * batch, *x.shape[2:])

        def render(index):
            pair = index // 2
            of_pair = jax.tree.map(lambda x: x[pair], (shots.scene, shots.table))
            of_view = jax.tree.map(
                lambda x: flat(x)[index], (shots.cameras, shots.lights, shots.keys)
            )
            return render_view(*of_pair, *of_view, textures, difficulty, config)

        image, depth = jax.lax.map(
            render, jnp.arange(2 * batch), batch_size=at_once if at_once > 1 else None
        )
        truth = DepthTruth(
            depth0=depth[0::2],
            depth1=depth[1::2],
            K0=shots.cameras.K[:, 0],
            K1=shots.cameras.K[:, 1],
            cam1_from_cam0=jax.vmap(relative_pose)(shots.cameras),
            tolerance=jnp.full(batch, EXACT_TOLERANCE, jnp.float32),
        )
        return PairBatch(image[0::2], image[1::2], None, None, truth), shots.kind


def draw_shots(key: Array, textures: Atlas, difficulty: Array, config: WorldConfig) -> Shots:
    """Draws the world of one pair, its two cameras, and the light that each of them meets."""
    layout_key, material_key, camera_key, light_key, image_key = jax.random.split(key, 5)
    kind, layout = draw_layout(layout_key, config.kinds)
    table = surface_table(layout.scene, draw_materials(material_key, layout, textures))
    cameras = draw_cameras(camera_key, layout, difficulty, config)
    key0, key1, choice = jax.random.split(light_key, 3)
    same = jax.random.bernoulli(choice, config.same_light_rate)
    light_keys = jnp.stack([key0, jnp.where(same, key0, key1)])
    lights = jax.vmap(lambda k: draw_light(k, strength_at(difficulty), config.light))(light_keys)
    return Shots(kind, layout.scene, table, cameras, lights, jax.random.split(image_key))


def strength_at(difficulty: Array) -> Array:
    """How strongly light and sensor change an image."""
    return 0.3 + 0.7 * difficulty


def relative_pose(cameras: Camera) -> Float[Array, "4 4"]:
    """Returns cam1_from_cam0 of two cameras on a leading axis."""
    (turn0, turn1), (eye0, eye1) = cameras.turn, cameras.eye
    turn, move = rotate(turn1, turn0.T), rotate(turn1, (eye0 - eye1)[:, None])
    return jnp.concatenate([jnp.concatenate([turn, move], axis=1), jnp.eye(4)[3:]])


def render_view(
    scene: Scene,
    table: Float[Array, "f m"],
    camera: Camera,
    light: Light,
    key: Array,
    textures: Atlas,
    difficulty: Array,
    config: WorldConfig,
) -> tuple[Array, Float[Array, "h w"]]:
    """Returns (image, depth) of one camera."""
    height, width = config.size

    def look(start):
        """Brightness and depth of points one pixel apart, the first at (start, start)."""
        direction = held(camera.rays(points + start))
        t, surface, known = held(trace(scene, camera.eye[:, None], direction))
        bright = shade(scene, table, light, textures, camera, direction, t, surface)
        return bright, jnp.where(known, t, 0.0)

    starts = jnp.array([0.0, -0.5] if config.smooth_edges else [0.0])
    x, y = jnp.meshgrid(jnp.arange(width + 1.0), jnp.arange(height + 1.0))
    points = jnp.stack([x.ravel(), y.ravel()])
    points = jnp.pad(points, ((0, 0), (0, -x.size % EVEN_ROW)))
    bright, depth = (rows[:, : x.size].reshape(-1, *x.shape) for rows in jax.lax.map(look, starts))
    image, depth = bright[0, :-1, :-1], depth[0, :-1, :-1]
    if config.smooth_edges:
        corner = bright[1]
        around = corner[:-1, :-1] + corner[1:, :-1] + corner[:-1, 1:] + corner[1:, 1:]
        image = 0.5 * image + 0.125 * around
    return take_picture(key, image, strength_at(difficulty), config.light), depth
