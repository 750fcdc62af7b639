"""Two pictures of any sizes as the arrays that exported programs take, and what they return as
matches in pixels of the pictures as given."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from astr_jax.geometry import enlarged_points
from astr_jax.images import Prepared, padded, prepare
from astr_jax.images.reading import loaded
from astr_jax.types import Matches
from pallas_kernels.arrays import Array


@dataclasses.dataclass(frozen=True)
class PreparedPair:
    """Two pictures at one working size."""

    image0: Prepared
    image1: Prepared
    size: tuple[int, int]  # height, width of the program

    @classmethod
    def of(cls, left, right, size: tuple[int, int], mask0=None, mask1=None) -> "PreparedPair":
        """left, right: as in `astr_jax.match`, but no batches. Raises ValueError."""
        return cls(fitted(left, mask0, size, "LEFT"), fitted(right, mask1, size, "RIGHT"), size)

    def arrays(self) -> Mapping[str, np.ndarray]:
        """image0, image1, mask0, mask1, padded to the size."""
        images = self.image0, self.image1
        return {
            f"{name}{i}": padded(np.asarray(getattr(x, field)), self.size)
            for i, x in enumerate(images)
            for name, field in (("image", "pixels"), ("mask", "mask"))
        }

    def as_given(self, found: Mapping[str, Array], most: int | None = None) -> Matches:
        """The valid matches, the `most` surest, in pixels of the pictures as given."""
        keep = np.flatnonzero(np.asarray(found["valid"])[0])[:most]
        rows = {name: np.asarray(x)[0][keep] for name, x in found.items()}
        points = (
            enlarged_points(rows[name], image.scale).astype(np.float32)
            for name, image in (("keypoints0", self.image0), ("keypoints1", self.image1))
        )
        across = np.outer(self.image1.scale, self.image1.scale).astype(np.float32)
        rows |= dict(zip(("keypoints0", "keypoints1"), points, strict=True))
        return Matches(**rows | {"covariance": rows["covariance"] * across})


def fitted(image, mask, size: tuple[int, int], name: str) -> Prepared:
    """An image shrunk so that it fits into height and width."""
    image = loaded(image, name)  # read once, prepared at two sizes
    whole = prepare(image, mask, resize=2**20, name=name)
    if whole.batched:
        raise ValueError(f"{name} is a batch; an exported graph takes one image at a time.")
    height, width = whole.shape
    limit = max(height, width)
    share = min(1.0, size[0] / height, size[1] / width)
    if share == 1.0:
        return whole
    return prepare(image, mask, resize=max(1, int(limit * share + 1e-6)), name=name)
