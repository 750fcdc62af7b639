"""How coarse cells lie in the pixels of an image as given."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int, Real

from astr_jax.geometry import enlarged_points
from astr_jax.ops.grids import COARSE_STRIDE


@dataclasses.dataclass(frozen=True)
class CellFrame:
    """The coarse grid of a working image, seen from the image as given."""

    width: int  # cells in a row of the padded working image
    scale: tuple[float, float]  # given / working, of x and y

    def given(self, points: Real[np.ndarray, "*b 2"]) -> Float[np.ndarray, "*b 2"]:
        """Pixels of the working image as pixels of the image as given."""
        return enlarged_points(points, self.scale)

    def working_centres(self, cells: Int[np.ndarray, "*b"]) -> Float[np.ndarray, "*b 2"]:
        """Centres (x, y) of coarse cells, pixels of the working image."""
        cells = np.asarray(cells)
        return np.stack([cells % self.width, cells // self.width], -1) * float(COARSE_STRIDE)

    def extent(self, grid: tuple[int, int], stride: int) -> tuple[float, float, float, float]:
        """(left, right, bottom, top) of a whole map [h w] at a stride, for imshow."""
        edges = np.array([[-0.5, -0.5], [grid[1] - 0.5, grid[0] - 0.5]]) * stride
        (left, top), (right, bottom) = self.given(edges)
        return float(left), float(right), float(bottom), float(top)
