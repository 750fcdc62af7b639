"""The two cameras of a pair: where they stand, and how much of one's image the other sees."""

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from astr_jax.data.worlds.config import WorldConfig
from astr_jax.data.worlds.draw import Draw
from astr_jax.data.worlds.layouts import Layout
from astr_jax.data.worlds.surfaces import Scene, clearance, rotate, trace
from pallas_kernels.arrays import Array

GRID = (12, 16)  # rays (rows, columns) on which overlap is measured
FIRST_CAMERAS = 8  # tried for a good view of the scene
ROOM = 0.25  # least distance of a camera from a surface, units


@flax.struct.dataclass
class Camera:
    """A pinhole camera: x right, y down, z forward; pixel centres at whole numbers."""

    K: Float[Array, "*b 3 3"]
    turn: Float[Array, "*b 3 3"]  # cam_from_world
    eye: Float[Array, "*b 3"]  # in the world

    def rays(self, points: Float[Array, "2 n"]) -> Float[Array, "3 n"]:
        """World directions of pixels, of unit depth."""
        x = (points[0] - self.K[0, 2]) / self.K[0, 0]
        y = (points[1] - self.K[1, 2]) / self.K[1, 1]
        return rotate(self.turn.T, jnp.stack([x, y, jnp.ones_like(x)]))

    def project(self, points: Float[Array, "3 n"]) -> tuple[Float[Array, "2 n"], Array]:
        """Pixels and depths of world points; pixels mean nothing where the depth is not > 0."""
        local = rotate(self.turn, points - self.eye[:, None])
        depth = local[2]
        safe = jnp.where(depth > 0, depth, 1.0)
        scale = jnp.stack([self.K[0, 0], self.K[1, 1]])[:, None]
        return local[:2] / safe * scale + self.K[:2, 2:], depth


def intrinsics(focal: Array, size: tuple[int, int]) -> Float[Array, "3 3"]:
    height, width = size
    rows = [[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]]
    return jnp.stack([jnp.stack([jnp.asarray(x, jnp.float32) for x in row]) for row in rows])


def look_at(eye: Array, target: Array, roll: Array) -> Float[Array, "3 3"]:
    """Returns cam_from_world of an upright camera, then turned about its axis by roll."""
    forward = unit(target - eye)
    right = unit(jnp.cross(forward, jnp.array([0.0, 1e-3, 1.0])))
    down = jnp.cross(forward, right)
    cos, sin = jnp.cos(roll), jnp.sin(roll)
    return jnp.stack([cos * right - sin * down, sin * right + cos * down, forward])


def unit(vector: Array) -> Array:
    return vector / jnp.maximum(jnp.linalg.norm(vector), 1e-6)


def pixel_grid(size: tuple[int, int], grid: tuple[int, int]) -> Float[Array, "2 n"]:
    """Points (x, y) at the centres of a grid of equal parts of the image."""
    (height, width), (rows, columns) = size, grid
    y = (jnp.arange(rows, dtype=jnp.float32) + 0.5) * height / rows - 0.5
    x = (jnp.arange(columns, dtype=jnp.float32) + 0.5) * width / columns - 0.5
    return jnp.stack([a.ravel() for a in jnp.meshgrid(x, y)])


def surface_points(scene: Scene, camera: Camera, size) -> tuple[Array, Bool[Array, " n"], Array]:
    """Traces the coarse grid: world points [3 n], whether they are known, and the surfaces."""
    direction = camera.rays(pixel_grid(size, GRID))
    t, surface, known = trace(scene, camera.eye[:, None], direction)
    return camera.eye[:, None] + jnp.where(known, t, 1.0) * direction, known, surface


def sees(
    scene: Scene, camera: Camera, points: Float[Array, "3 n"], size
) -> tuple[Bool[Array, " n"], Float[Array, " n"]]:
    """Whether the camera has the points in its image, with nothing before them; their depths."""
    pixel, depth = camera.project(points)
    height, width = size
    inside = (
        (depth > 0)
        & (jnp.abs(pixel[0] - (width - 1) / 2) <= width / 2)
        & (jnp.abs(pixel[1] - (height - 1) / 2) <= height / 2)
    )
    t, _, _ = trace(scene, camera.eye[:, None], points - camera.eye[:, None])
    return inside & (t > 0.995), depth


def compare_views(
    scene: Scene, camera0: Camera, camera1: Camera, size
) -> tuple[Array, Float[Array, ""]]:
    """Returns two numbers of what both images see.

    The overlap: of the known pixels of image 0 and of image 1, the larger share that the other
    sees too. And how far its depths differ: the mean logarithm of their ratio, without sign.
    """
    shares, ratios = [], []
    for one, other in ((camera0, camera1), (camera1, camera0)):
        points, known, _ = surface_points(scene, one, size)
        seen, depth = sees(scene, other, points, size)
        common = known & seen
        shares.append(common.sum() / jnp.maximum(known.sum(), 1))
        ratio = jnp.where(common, one.project(points)[1] / depth, 1.0)
        ratios.append(jnp.abs(jnp.log(ratio).sum()) / jnp.maximum(common.sum(dtype=jnp.float32), 1))
    return jnp.maximum(*shares), jnp.maximum(*ratios)


def draw_cameras(key: Array, layout: Layout, difficulty: Array, config: WorldConfig) -> Camera:
    """Draws two cameras, on a leading axis: of many second ones, that whose overlap is nearest to
    the wanted one."""
    draw = Draw(key, 16)
    focals = draw_focals(draw, config)
    keys = jax.random.split(draw.key(), FIRST_CAMERAS)
    firsts = jax.vmap(lambda k: draw_first(k, layout, focals[0], config))(keys)
    scores = jax.vmap(lambda c: view_score(layout.scene, c, config.size))(firsts)
    first = jax.tree.map(lambda x: x[jnp.argmin(scores)], firsts)

    scene = layout.scene
    largest = eased(difficulty, config.easy_depth_ratio, config.max_depth_ratio)
    ratio = jnp.exp(draw.uniform(jnp.log(config.min_depth_ratio), jnp.log(largest)))
    turned = draw.chance(config.rotation_rate)
    widest = eased(difficulty, config.easy_rotation, config.max_rotation)
    roll = jnp.radians(draw.uniform(-1, 1) * jnp.where(turned, widest, config.easy_rotation))
    wanted = draw.uniform(
        eased(difficulty, config.easy_overlap, config.min_overlap), config.max_overlap
    )
    points, known, surface = surface_points(scene, first, config.size)
    # A point to look at: on a solid rather than on the bare ground.
    weights = jnp.where(known, jnp.where(surface == scene.sky - 1, -1.5, 0.0), -1e9)

    def second(k):
        return draw_second(k, first, points, weights, focals[1], ratio, roll, difficulty, config)

    seconds = jax.vmap(second)(jax.random.split(draw.key(), config.candidates))

    def miss(camera):
        overlap, log_ratio = compare_views(scene, first, camera, config.size)
        too_small = jnp.maximum(config.min_overlap - overlap, 0.0)
        too_unlike = jnp.maximum(log_ratio - jnp.log(config.max_depth_ratio), 0.0)
        score = view_score(scene, camera, config.size)
        return jnp.abs(overlap - wanted) + score + 10 * too_small + 2 * too_unlike

    best = jnp.argmin(jax.vmap(miss)(seconds))
    second_camera = jax.tree.map(lambda x: x[best], seconds)
    swap = draw.chance(0.5)
    pair = jax.tree.map(lambda a, b: jnp.stack([a, b]), first, second_camera)
    return jax.tree.map(lambda x: jnp.where(swap, x[::-1], x), pair)


def eased(difficulty: Array, easy: float, full: float) -> Array:
    return easy + difficulty * (full - easy)


def draw_focals(draw: Draw, config: WorldConfig) -> tuple[Array, Array]:
    """Two focal lengths in pixels, within the allowed ratio of each other."""
    low, high = jnp.log(config.min_focal), jnp.log(config.max_focal)
    first = draw.uniform(low, high)
    reach = jnp.log(config.max_focal_ratio)
    second = jnp.clip(first + reach * draw.uniform(-1, 1), low, high)
    side = max(config.size)
    return side * jnp.exp(first), side * jnp.exp(second)


def draw_first(key: Array, layout: Layout, focal: Array, config: WorldConfig) -> Camera:
    draw = Draw(key, 16)
    eye, target = (
        box[0] + draw.uniform(0, 1, (3,)) * (box[1] - box[0])
        for box in (layout.eyes, layout.targets)
    )
    roll = jnp.radians(5.0) * draw.uniform(-1, 1)
    return Camera(intrinsics(focal, config.size), look_at(eye, target, roll), eye)


def draw_second(key, first, points, weights, focal, ratio, roll, difficulty, config) -> Camera:
    """Another camera, nearer by the ratio to a point that the first one sees; log weights."""
    draw = Draw(key, 16)
    target = points[:, jax.random.categorical(draw.key(), weights)]
    back = first.eye - target
    angle = jnp.radians(eased(difficulty, config.easy_view_angle, config.max_view_angle))
    angle = angle * jnp.sqrt(draw.uniform(0, 1))
    bearing = draw.uniform(0, 2 * jnp.pi)
    across = first.turn[0] * jnp.cos(bearing) + 0.5 * first.turn[1] * jnp.sin(bearing)
    away = unit(unit(back) * jnp.cos(angle) + unit(across) * jnp.sin(angle))
    distance = jnp.linalg.norm(back) / ratio
    eye = target + distance * away
    # Looking beside the point makes the overlap smaller; half an image is the most.
    shift = draw.uniform(-1, 1, (3,)) * draw.uniform(0, 0.7) * distance
    shift = shift * max(config.size) / focal
    turn = look_at(eye, target + shift, roll)
    return Camera(intrinsics(focal, config.size), turn, eye)


def view_score(scene: Scene, camera: Camera, size) -> Array:
    """0 for a good view; more in a wall, too near to one, or where the image is mostly sky."""
    points, known, _ = surface_points(scene, camera, size)
    free = clearance(scene, camera.eye[:, None])[0]
    distance = jnp.linalg.norm(points - camera.eye[:, None], axis=0)
    near = jnp.where(known, distance, jnp.inf).min()
    return (
        10.0 * (free < ROOM).astype(jnp.float32)
        + 2.0 * jnp.maximum(0.6 - known.mean(), 0.0)
        + jnp.maximum(0.5 - near, 0.0)
    )
