"""Pictures of one plane, a matcher that knows them, and what hloc reads of their matches."""

import h5py
import numpy as np
from PIL import Image

from astr_jax.evaluation.benchmarks.resizing import Resize
from astr_jax.evaluation.localisation.export import write_matches
from astr_jax.evaluation.localisation.shared_keypoints import Quantisation

SIZE = (160, 120)  # (w, h) of the files; matched at half of it
RESIZE = Resize(long_side=80)
RULE = Quantisation(cell=8, max_error=2)
DATABASE = ("db/a.png", "db/b.png", "db/c.png")
QUERIES = ("query/day/q.png", "query/night/r.png")
SFM_PAIRS = [("db/a.png", "db/b.png"), ("db/a.png", "db/c.png"), ("db/b.png", "db/c.png")]
LOC_PAIRS = [(query, image) for query in QUERIES for image in DATABASE[:2]]


class World:
    """Five pictures of one plane: a point of the first is moved by 3, 6, ... pixels in the next."""

    def __init__(self, folder):
        self.folder = folder
        for k, name in enumerate(DATABASE + QUERIES):
            (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", SIZE, 10 * k + 10).save(folder / "images" / name)
        for name, pairs in (("sfm", SFM_PAIRS), ("loc", LOC_PAIRS)):
            (folder / f"{name}.txt").write_text("\n".join(map(" ".join, pairs)) + "\n")
        x, y = np.meshgrid(np.arange(20, 130, 10), np.arange(15, 110, 10))
        self.points = np.stack([x.ravel(), y.ravel()], axis=-1) + 0.25
        self.calls = 0

    def places(self, number):
        """The true places in a picture, in pixels of its file."""
        return self.points + np.array([3.0 * number, 1.5])

    def match(self, img0, img1, K0=None, K1=None):
        self.calls += 1
        assert img0.shape == (60, 80)
        assert K0 is None
        points = [
            (self.places(int(image[0, 0]) // 10 - 1) + 0.5) / 2 - 0.5 for image in (img0, img1)
        ]
        return *points, np.linspace(0.9, 0.5, len(self.points))

    def write(self, name="sfm", matcher=None, out="out", **options):
        options = {"quantisation": RULE, **options}
        return write_matches(
            matcher or self.match,
            self.folder / f"{name}.txt",
            self.folder / "images",
            self.folder / out,
            RESIZE,
            **options,
        )


def hloc_matches(written, name0, name1):
    """The matched keypoints of a pair, looked up as hloc's localisation does."""
    with h5py.File(written.features, "r") as features, h5py.File(written.matches, "r") as matches:
        keypoints0, keypoints1 = (features[name]["keypoints"][()] for name in (name0, name1))
        group = matches["/".join(name.replace("/", "-") for name in (name0, name1))]
        partner, score = group["matches0"][()], group["matching_scores0"][()]
    assert (partner.dtype, score.dtype) == (np.int32, np.float16)
    assert partner.shape == score.shape == keypoints0.shape[:1]
    found = partner > -1
    assert (score[found] > 0).all()
    assert (score[~found] == 0).all()
    return keypoints0[found], keypoints1[partner[found]]


def content(path):
    """Every array of an h5 file."""
    arrays = {}
    with h5py.File(path, "r") as file:
        file.visititems(
            lambda name, item: (
                arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return arrays


def assert_same_files(one, two):
    for kind in ("features", "matches"):
        a, b = content(getattr(one, kind)), content(getattr(two, kind))
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
