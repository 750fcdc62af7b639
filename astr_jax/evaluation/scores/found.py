"""The matches of a pair, as they come from a matcher and as they are scored.

Three things go by the name of matches:
  Matches       of astr_jax.types: the model's, padded to a fixed length, with scales and cells.
  MatchArrays   what a MatchFunction returns, whatever made it: three arrays or four.
  FoundMatches  the same, checked: what all scores are made from.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

# keypoints0 [k 2], keypoints1 [k 2] in pixels, confidence [k], and perhaps sigma [k] or None.
MatchArrays = tuple[np.ndarray | None, ...]
# match(image0, image1, K0=None, K1=None), of uint8 grey images [h w].
MatchFunction = Callable[..., MatchArrays]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundMatches:
    """Checked matches of a pair, in pixels of the images as the matcher was given them."""

    points0: Float[np.ndarray, "k 2"]
    points1: Float[np.ndarray, "k 2"]
    confidence: Float[np.ndarray, " k"]
    sigma: Float[np.ndarray, " k"] | None = None  # deviation of points1, per axis

    def __len__(self) -> int:
        return len(self.confidence)

    def __getitem__(self, rows) -> "FoundMatches":
        """Some of them, by numbers or by a mask [k]."""
        return FoundMatches(
            points0=self.points0[rows],
            points1=self.points1[rows],
            confidence=self.confidence[rows],
            sigma=None if self.sigma is None else self.sigma[rows],
        )

    def most_confident(self, count: int | None) -> "FoundMatches":
        """At most `count` of them; None: all."""
        if count is None or len(self) <= count:
            return self
        return self.sorted()[:count]

    def sorted(self) -> "FoundMatches":
        """All of them, the most confident first."""
        return self[np.argsort(-self.confidence, kind="stable")]


def checked_matches(returned: object) -> FoundMatches:
    """What a matcher returned; raises ValueError where these are no finite MatchArrays."""
    if not isinstance(returned, tuple | list) or len(returned) not in (3, 4):
        raise ValueError(
            "a matcher must return (keypoints0, keypoints1, confidence) or, with sigma, four "
            f"arrays; got {type(returned).__name__}."
        )
    arrays = [np.asarray(array, np.float64) for array in returned if array is not None]
    shapes = [array.shape for array in arrays]
    k = len(arrays[0]) if arrays[0].ndim else 0
    if shapes not in ([(k, 2), (k, 2), (k,)], [(k, 2), (k, 2), (k,), (k,)]):
        raise ValueError(
            "a matcher must return keypoints0 [k 2], keypoints1 [k 2], confidence [k] and, if it "
            f"has it, sigma [k]; got the shapes {', '.join(map(str, shapes))}."
        )
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("the matcher returned keypoints, confidences or sigmas, not all finite.")
    return FoundMatches(
        **dict(zip(("points0", "points1", "confidence", "sigma"), arrays, strict=False))
    )
