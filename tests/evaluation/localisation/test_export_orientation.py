"""Keypoints for hloc and COLMAP lie where these see them: in pixels as stored."""

import h5py
import numpy as np
import pytest
from PIL import Image

from astr_jax.evaluation.benchmarks.resizing import Resize
from astr_jax.evaluation.localisation.export import write_matches
from astr_jax.evaluation.localisation.shared_keypoints import Quantisation

pycolmap = pytest.importorskip("pycolmap")

STORED = [(9, 4), (31, 7), (14, 20)]  # (x, y) of the spots, from the darkest to the brightest


def spots(image):
    """Where an image is brightest at three places, from the darkest to the brightest."""
    y, x = np.unravel_index(np.argsort(image.ravel())[-3:], image.shape)
    return np.stack([x, y], axis=-1).astype(float)


def write_picture(path, orientation, **options):
    pixels = np.zeros((28, 40), np.uint8)
    for k, (x, y) in enumerate(STORED):
        pixels[y, x] = 200 + 20 * k
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif, **options)


@pytest.mark.parametrize("kind", ["png", "tif", "jpg"])
def test_keypoints_lie_on_what_pycolmap_reads_in_all_eight_orientations(tmp_path, kind):
    names = [f"{orientation}.{kind}" for orientation in range(1, 9)]
    for orientation, name in enumerate(names, 1):
        write_picture(tmp_path / name, orientation, **({"quality": 100} if kind == "jpg" else {}))
    lines = [f"{names[0]} {name}" for name in names[1:]]
    (tmp_path / "list.txt").write_text("\n".join(lines))

    def match(img0, img1, K0=None, K1=None):
        return spots(img0), spots(img1), np.array([0.5, 0.6, 0.7])

    written = write_matches(
        match,
        tmp_path / "list.txt",
        tmp_path,
        tmp_path / "out",
        Resize(long_side=40),
        quantisation=Quantisation(cell=1, max_error=1),
    )
    with h5py.File(written.features, "r") as features:
        for name in names:
            seen = pycolmap.Bitmap.read(str(tmp_path / name), as_rgb=False).to_array()
            found = features[name]["keypoints"][()]
            np.testing.assert_allclose(sorted(found.tolist()), sorted(STORED), atol=1e-4)
            assert (seen.squeeze()[tuple(found.round().astype(int).T[::-1])] > 180).all()
