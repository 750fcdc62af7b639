"""Scenes of photographs with tracks, written as COLMAP writes them."""

import cv2
import numpy as np

HEIGHT, WIDTH = 96, 128
FOCAL = 120.0


def write_scene(folder, rng, *, views=3, points=60, step=0.4, off=0.0):
    """A folder as COLMAP writes it: cameras in a row before a cloud of points. off: of the last
    point's key points, pixels."""
    (folder / "images").mkdir(parents=True)
    (folder / "sparse").mkdir()
    xyz = rng.uniform((-1, -0.8, 3.5), (1, 0.8, 5), (points, 3))
    camera = f"1 PINHOLE {WIDTH} {HEIGHT} {FOCAL} {FOCAL} {WIDTH / 2} {HEIGHT / 2}\n"
    (folder / "sparse" / "cameras.txt").write_text(camera)
    images = ""
    for k in range(views):
        at = xyz - np.array([step * (k - (views - 1) / 2), 0, 0])
        keypoints = FOCAL * at[:, :2] / at[:, 2:] + (WIDTH / 2, HEIGHT / 2)  # COLMAP's pixels
        keypoints[-1] += off
        seen = " ".join(f"{x} {y} {number + 1}" for number, (x, y) in enumerate(keypoints))
        x = -step * (k - (views - 1) / 2)
        images += f"{k + 1} 1 0 0 0 {x} 0 0 1 {k}.png\n{seen}\n"
        picture = rng.integers(0, 255, (HEIGHT, WIDTH), dtype=np.uint8)
        cv2.imwrite(str(folder / "images" / f"{k}.png"), cv2.GaussianBlur(picture, (0, 0), 2))
    (folder / "sparse" / "images.txt").write_text(images)
    tracks = [" ".join(f"{k + 1} {n}" for k in range(views)) for n in range(points)]
    lines = (f"{n + 1} {x} {y} {z} 0 0 0 0.1 {tracks[n]}\n" for n, (x, y, z) in enumerate(xyz))
    (folder / "sparse" / "points3D.txt").write_text("".join(lines))
    return xyz
