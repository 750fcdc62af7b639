"""A COLMAP model of invented points, and photographs of it that show texture, one stored turned."""

import dataclasses
import pathlib

import numpy as np
import pycolmap
from pictures import picture
from PIL import Image

WIDTH, HEIGHT, FOCAL = 128, 96, 120.0
TURNED = "1.png"  # stored turned by a quarter, with the EXIF tag that says so


@dataclasses.dataclass(frozen=True)
class Invented:
    """A model on disk and what it was made from."""

    model: pathlib.Path  # cameras, images, points3D in binary
    images: pathlib.Path
    cam_from_world: dict[str, np.ndarray]  # [4 4], of the files as stored
    xyz: np.ndarray  # [n 3]; point number n + 1 is row n
    seen: dict[str, np.ndarray]  # where each upright image shows all points, (0, 0) a centre


def make_model(folder, *, count=3, points=60):
    """`count` images on an arc about a cloud, all of which show all points."""
    rng = np.random.default_rng(0)
    xyz = rng.uniform(-0.9, 0.9, (points, 3))
    images, place = folder / "images", folder / "model"
    images.mkdir(parents=True)
    place.mkdir()
    model, poses, seen = pycolmap.Reconstruction(), {}, {}
    for number in range(count):
        name = f"{number}.png"
        stored = Image.fromarray(picture(HEIGHT, WIDTH, seed=number))
        size, exif = (WIDTH, HEIGHT), stored.getexif()
        c, s = np.cos(angle := 0.2 * (number - 1)), np.sin(angle)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = [[c, 0, -s], [0, 1, 0], [s, 0, c]], [0.1, -0.1, 4]
        upright = project(xyz, pose, size)
        if name == TURNED:
            stored, size = stored.transpose(Image.Transpose.ROTATE_90), (HEIGHT, WIDTH)
            exif[0x0112] = 6  # to be turned clockwise by a quarter, to stand upright
            pose = np.array([[0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]) @ pose
        stored.save(images / name, exif=exif)
        poses[name], seen[name] = pose, upright
        add_image(model, number + 1, name, size, pose, project(xyz, pose, size) + 0.5)
    for row, position in enumerate(xyz):
        elements = [pycolmap.TrackElement(image, row) for image in model.images]
        model.add_point3D(position, pycolmap.Track(elements), np.zeros(3, np.uint8))
    model.write_binary(str(place))
    return Invented(place, images, poses, xyz, seen)


def project(xyz, pose, size):
    """Pixels of points in the camera, (0, 0) the centre of the top-left one."""
    seen = xyz @ pose[:3, :3].T + pose[:3, 3]
    return FOCAL * seen[:, :2] / seen[:, 2:] + (np.array(size) - 1) / 2


def camera_of(size, number=1):
    """The camera that took an image of a size, (w, h)."""
    params = [FOCAL, FOCAL, size[0] / 2, size[1] / 2]
    return pycolmap.Camera(
        model="PINHOLE", width=size[0], height=size[1], params=params, camera_id=number
    )


def add_image(model, number, name, size, pose, pixels):
    """Puts an image with a camera of its own into a model."""
    model.add_camera_with_trivial_rig(camera_of(size, number))
    points = pycolmap.Point2DList([pycolmap.Point2D(xy) for xy in pixels])
    image = pycolmap.Image(name=name, camera_id=number, image_id=number, points2D=points)
    model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(pose[:3]))
