"""The two cameras that look at a lifted photograph, and how its planes move between them."""

import cv2
import numpy as np
from jaxtyping import Float

from astr_jax.data.lifted.layers import Layers

LEAST_FRONT = 0.1  # of a camera's distance from a plane, by that of the photograph's camera


def first_view(photo_size, size, rng, ease: float, most_zoom: float, most_roll: float):
    """Image-0 pixels from the photograph's, a similarity [3 3]: a piece of it, turned a little."""
    height, width = size
    fit = max(width / photo_size[1], height / photo_size[0])
    zoom = fit * np.exp(rng.uniform(0, np.log(most_zoom)))
    roll = ease * most_roll * rng.uniform(-1, 1)
    whole = np.array(photo_size[::-1], float)
    room = np.maximum(0, (whole - np.array([width, height]) / zoom) / 2)
    target = (whole - 1) / 2 + room * rng.uniform(-1, 1, 2)
    return similarity(zoom, roll, target, size)


def similarity(zoom: float, roll: float, target, size) -> Float[np.ndarray, "3 3"]:
    """Turns and scales about a target pixel, which comes to the middle of an image of a size."""
    cos, sin = zoom * np.cos(roll), zoom * np.sin(roll)
    matrix = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])
    matrix[:2, 2] = (np.array(size[::-1]) - 1) / 2 - matrix[:2, :2] @ target
    return matrix


def second_camera(layers: Layers, view0, size, rng, ease: float, config):
    """K [3 3] and cam_from_photo [4 4] of a camera that looks at about what image 0 shows.

    It goes round a point of the scene, comes nearer to it or leaves it, and looks beside it.
    """
    wide = np.array(size[::-1]) * rng.uniform(-0.5, 0.5, 2) * config.max_shift * ease
    middle = (np.array(size[::-1]) - 1) / 2 + wide
    x, y = (np.linalg.inv(view0) @ np.append(middle, 1))[:2]
    height, width = layers.layer.shape
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    ray = np.linalg.inv(layers.K) @ (x, y, 1)
    depth = 1 / (layers.planes[layers.layer[round(y), round(x)]] @ ray)
    distance = depth * np.linalg.norm(ray)
    looking = turned_to_axis(ray)
    angle = ease * np.radians(config.max_view_angle) * np.sqrt(rng.random())
    bearing = rng.normal(0, 0.5) + np.pi * rng.integers(0, 2)  # mostly sideways
    around = cv2.Rodrigues(angle * np.array([np.sin(bearing), np.cos(bearing), 0]))[0]
    roll = ease * np.radians(config.max_rotation) * rng.uniform(-1, 1) * (rng.random() < 0.3)
    about = cv2.Rodrigues(np.array([0, 0, roll + 0.1 * ease * rng.normal()]))[0]
    nearer = np.exp(ease * np.log(config.max_approach) * rng.uniform(-1, 1))
    back = np.array([0, 0, distance])
    pose = np.eye(4)
    pose[:3, :3] = about @ around @ looking
    pose[:3, 3] = about @ (back / nearer - around @ back)
    zoom = np.sqrt(np.linalg.det(view0[:2, :2])) * np.exp(ease * rng.uniform(-0.25, 0.25))
    focal = zoom * layers.K[0, 0]
    K = np.array([[focal, 0, (size[1] - 1) / 2], [0, focal, (size[0] - 1) / 2], [0, 0, 1.0]])
    return K, pose


def turned_to_axis(ray) -> Float[np.ndarray, "3 3"]:
    """The rotation by the shortest way that brings a ray to the optical axis."""
    ray = ray / np.linalg.norm(ray)
    axis = np.cross(ray, (0, 0, 1.0))
    sine = np.linalg.norm(axis)
    return cv2.Rodrigues(axis / max(sine, 1e-12) * np.arctan2(sine, ray[2]))[0]


def plane_views(layers: Layers, K1, pose):
    """Of each plane: the homography from pixels of the photograph to image 1, its plane in the
    second camera, and whether that is before it.

    A point of inverse depth q . r on the ray r lies at (R + t q^T) r / (q . r) there.
    """
    motions = pose @ layers.motions
    turns, shifts = motions[:, :3, :3], motions[:, :3, 3]
    moved = turns + shifts[:, :, None] * layers.planes[:, None, :]
    homographies = K1 @ moved @ np.linalg.inv(layers.K)
    normals = np.einsum("kij,kj->ki", turns, layers.planes)
    front = 1 + (normals * shifts).sum(axis=-1)  # this camera's distance by the first one's
    planes1 = normals / np.where(front > LEAST_FRONT, front, 1.0)[:, None]
    return homographies, planes1, front > LEAST_FRONT
