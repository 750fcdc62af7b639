"""The types that stages pass to each other. Shapes: b pairs, n/m coarse cells of image 0/1."""

from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from astr_jax.pair_score import pair_score
from pallas_kernels.arrays import Array
from pallas_kernels.sparse_attention import Index


@flax.struct.dataclass
class Features:
    """What one backbone pass says of each image; reusable in many pairs."""

    coarse32: Float[Array, "b h32 w32 c"]
    coarse8: Float[Array, "b h8 w8 c"]
    fine: Float[Array, "b hs ws d"]  # at 1/2 or 1/4
    mask32: Bool[Array, "b h32 w32"]  # True where a cell's centre is usable
    mask8: Bool[Array, "b h8 w8"]
    fine_mask: Bool[Array, "b hs ws"]


class BlockMatrices(NamedTuple):
    """P of one block, to be supervised: of image 0 looking at 1, and back."""

    forward: object  # SparseDualSoftmax, or a DualSoftmax over all pairs, which holds both ways
    backward: object | None


@flax.struct.dataclass
class Flow:
    """Where each coarse cell of an image lies in the other one: a Gaussian, its axes apart."""

    points: Float[Array, "*b n 2"]  # means (x, y), pixels of the other working image
    log_variance: Float[Array, "*b n 2"]  # of x and of y; of pixels squared

    @property
    def sigma(self) -> Float[Array, "*b n 2"]:
        """Standard deviations of x and y, pixels."""
        return jnp.exp(self.log_variance / 2)


class BlockFlows(NamedTuple):
    """The flows of one block, to be supervised: from image 0 to image 1, and back."""

    forward: Flow
    backward: Flow


@flax.struct.dataclass
class CoarseOutput:
    """Aggregated features, flattened, and what is supervised of them, by type."""

    features0: Float[Array, "b n c"]
    features1: Float[Array, "b m c"]
    mask0: Bool[Array, "b n"]
    mask1: Bool[Array, "b m"]
    matrix: object  # DualSoftmax of the final features
    supervised: tuple[BlockMatrices | BlockFlows, ...]  # beside the final P, block by block
    spots: tuple[tuple[Index, Index], ...]  # per block: where image 0 looks in 1, and 1 in 0

    @property
    def spot_matrices(self) -> tuple[BlockMatrices, ...]:
        """The matrices among what is supervised."""
        return tuple(part for part in self.supervised if isinstance(part, BlockMatrices))

    @property
    def flows(self) -> tuple[BlockFlows, ...]:
        """The flows among what is supervised."""
        return tuple(part for part in self.supervised if isinstance(part, BlockFlows))

    @property
    def maps(self) -> tuple:
        """The aggregated features of both images: what the fine stage takes as context."""
        return self.features0, self.features1


@flax.struct.dataclass
class CoarseMatches:
    """Pairs of coarse cells, padded to a fixed length k; -1 and 0 on padding."""

    cell0: Int[Array, "*b k"]
    cell1: Int[Array, "*b k"]
    confidence: Float[Array, "*b k"]
    valid: Bool[Array, "*b k"]


@flax.struct.dataclass
class Refined:
    """One step of refinement, in pixels of the padded input images; of several: [t b k ...]."""

    points1: Float[Array, "*b k 2"]  # the better estimate
    centres1: Float[Array, "*b k 2"]  # the estimate before: the centre of the crop of image 1
    delta: Float[Array, "*b k 2"]  # expectation over the crop of image 1, in [-1, 1]
    reach: Float[Array, "*b k"]  # pixels of image 1 that delta = 1 stands for
    covariance: Float[Array, "*b k 2 2"]  # of points1, pixels squared


@flax.struct.dataclass
class FlowMap:
    """Where each coarse cell of image 0 lies in image 1, in pixels (x, y) of the images as given.

    Cells stand on a grid [h w], 8 pixels of the working image apart. Rows with valid == False say
    nothing: the cell is masked, or has no match in a model that knows matches alone.
    """

    points0: Float[Array, "h w 2"]  # the centres of the cells
    points1: Float[Array, "h w 2"]
    sigma: Float[Array, "h w 2"]  # standard deviations of x and y of points1
    valid: Bool[Array, "h w"]

    @property
    def flow(self) -> Float[Array, "h w 2"]:
        """points1 - points0."""
        return self.points1 - self.points0


@flax.struct.dataclass
class Matches:
    """Correspondences between two images, padded to a fixed length k, sorted by confidence.

    Row k says that keypoints0[k] in image 0 and keypoints1[k] in image 1 show the same scene
    point. Rows with valid[k] == False are padding, and hold zeros and -1. Points are (x, y), in
    pixels of the images as given; (0, 0) is the centre of the top-left pixel.
    """

    keypoints0: Float[Array, "*b k 2"]
    keypoints1: Float[Array, "*b k 2"]
    confidence: Float[Array, "*b k"]  # in [0, 1]
    covariance: Float[Array, "*b k 2 2"]  # of keypoints1 (x, y), pixels squared of image 1 as given
    scale: Float[Array, "*b k"]  # how much larger things look in image 1 (working sizes)
    cell0: Int[Array, "*b k"]  # coarse cell of image 0: the same image gives the same cells
    cell1: Int[Array, "*b k"]  # of image 1 as given; if it was matched turned, the nearest
    valid: Bool[Array, "*b k"]

    @classmethod
    def none(cls) -> "Matches":
        """The matches of a pair that has none: no row."""
        points, numbers = np.zeros((0, 2), np.float32), np.zeros(0, np.float32)
        cells = np.zeros(0, np.int32)
        return cls(
            keypoints0=points,
            keypoints1=points,
            confidence=numbers,
            covariance=np.zeros((0, 2, 2), np.float32),
            scale=numbers,
            cell0=cells,
            cell1=cells,
            valid=np.zeros(0, bool),
        )

    @property
    def sigma(self) -> Float[Array, "*b k"]:
        """Standard deviation of keypoints1 per axis: the root of the mean of both variances."""
        return ((self.covariance[..., 0, 0] + self.covariance[..., 1, 1]) / 2) ** 0.5

    @property
    def pair_score(self) -> float | Float[np.ndarray, "*b"]:
        """How probably both pictures show the same place, in [0, 1], by how the matches lie and how
        many they are; 0 without matches. Of a batch one a pair. Computed anew at each call, in a
        few milliseconds.

        Meant for all matches of the weights that ship, at their own threshold, where half of the
        pairs show one place (`astr eval places` measures it; docs/results.md).
        """
        if self.valid.ndim > 1:
            return np.stack([self[i].pair_score for i in range(len(self.valid))])
        found = self.compact()
        return pair_score(found.keypoints0, found.keypoints1, found.confidence)

    def compact(self) -> "Matches":
        """The valid rows as NumPy arrays, of one pair.

        Raises ValueError for a batch, whose pairs have different numbers of matches: index it.
        """
        if self.valid.ndim != 1:
            raise ValueError(
                f"compact() takes the matches of one pair; these are of {self.valid.shape[:-1]} "
                "pairs. Take one with matches[i]."
            )
        keep = np.asarray(self.valid)
        return jax.tree.map(lambda x: np.asarray(x)[keep], self)

    def spread(self, most: int, *, block: float = 64.0) -> "Matches":
        """The valid rows of one pair, at most `most` in each block of image 0, the surest ones.

        block: side of the squares, pixels of image 0 as given. Estimators see all of the picture
        then, not only where texture is dense; the order stays.
        """
        if most < 1 or not block > 0:
            raise ValueError(f"most and block must be positive; got {most} and {block}.")
        matches = self.compact()
        blocks = np.floor(matches.keypoints0 / block).astype(np.int64)
        _, label = np.unique(blocks, axis=0, return_inverse=True)
        label = label.reshape(-1)
        order = np.lexsort((-matches.confidence, label))
        starts = np.flatnonzero(np.diff(label[order], prepend=-1))
        place = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
        return matches[np.sort(order[place < most])]

    def finest_first(self) -> "Matches":
        """The valid rows of one pair by growing sigma: the order that PROSAC draws samples in."""
        matches = self.compact()
        return matches[np.argsort(matches.sigma, kind="stable")]

    def __getitem__(self, index) -> "Matches":
        """Indexes every field: matches[i] of a batch, or a mask of rows."""
        return jax.tree.map(lambda x: x[index], self)

    def __len__(self) -> int:
        """The number of rows, padding included."""
        return self.valid.shape[-1]
