"""An invented scene with exact correspondences, for what stands behind matching."""

import dataclasses

import numpy as np
from PIL import Image

from astr_jax.reconstruction.photos import find_photos
from astr_jax.reconstruction.tracks import Tracks

WIDTH, HEIGHT, FOCAL = 320, 240, 360.0


@dataclasses.dataclass(frozen=True)
class Scene:
    """Photographs (empty ones), exact tracks through them, and the true poses."""

    folder: object
    photos: tuple
    tracks: Tracks
    cam_from_world: np.ndarray  # [n 4 4]


def make_scene(folder, *, images=6, points=150, turned=None, seed=0):
    """Cameras on an arc about a cloud of points. turned: the number of an image whose file is
    stored turned by a quarter, with the EXIF tag 6 that says so."""
    rng = np.random.default_rng(seed)
    cloud = rng.uniform(-1, 1, (points, 3))
    poses, rows = [], []
    folder.mkdir(exist_ok=True)
    for number, angle in enumerate(np.linspace(-0.5, 0.5, images)):
        c, s = np.cos(angle), np.sin(angle)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = [[c, 0, -s], [0, 1, 0], [s, 0, c]], [0, 0, 5]
        seen = cloud @ pose[:3, :3].T + pose[:3, 3]
        xy = FOCAL * seen[:, :2] / seen[:, 2:] + [(WIDTH - 1) / 2, (HEIGHT - 1) / 2]
        kept = np.flatnonzero(rng.random(points) < 0.8)
        rows += [(track, number, *xy[track]) for track in kept]
        poses.append(pose)
        picture = Image.new("L", (WIDTH, HEIGHT), 90)
        if number == turned:
            picture = picture.transpose(Image.Transpose.ROTATE_90)
            exif = picture.getexif()
            exif[0x0112] = 6  # to be turned clockwise by a quarter, to stand upright
            picture.save(folder / f"{number}.jpg", exif=exif)
        else:
            picture.save(folder / f"{number}.jpg")
    rows = np.array(sorted(rows))
    track = np.unique(rows[:, 0], return_inverse=True)[1].reshape(-1)
    photos = find_photos(folder)
    tracks = Tracks(
        tuple(photo.name for photo in photos),
        track,
        rows[:, 1].astype(int),
        rows[:, 2:],
        np.zeros(len(rows)),
    )
    return Scene(folder, photos, tracks, np.array(poses))
