"""vismatch (formerly image-matching-models): a matcher among its matchers.

matcher = AstrMatcher(weights="tiny", resize=832)
result = matcher("left.jpg", "right.jpg")  # H, matched_kpts0, inlier_kpts0, ...
"""

import os

from astr_jax.adapters.tensors import TensorMatcher
from astr_jax.params import Params

try:
    from vismatch import BaseMatcher
except ImportError as error:
    raise ImportError(
        "astr_jax.adapters.vismatch needs vismatch, which cannot be imported here: pip install "
        f"vismatch. ({error})"
    ) from error

RANSAC = ("ransac_iters", "ransac_conf", "ransac_reproj_thresh")


class AstrMatcher(BaseMatcher):
    """ASTR as a vismatch.BaseMatcher, which estimates the homography.

    device: of vismatch's tensors; JAX chooses its own. weights, options: as of `TensorMatcher`,
    beside vismatch's RANSAC.
    """

    def __init__(
        self,
        device: str = "cpu",
        *,
        weights: Params | str | os.PathLike | None = None,
        **options,
    ):
        super().__init__(device, **{name: options.pop(name) for name in RANSAC if name in options})
        self.net = TensorMatcher(weights, **options)

    def _forward(self, img0, img1):
        """Of two images [3 H W] in [0, 1]: matched points [N 2] of both; None for all keypoints and
        for descriptors of both, which it has none of; and confidences [N]. Float32 arrays; (0, 0)
        is the centre of the top-left pixel. Raises ValueError."""
        found = self.net(img0, img1)
        return found.keypoints0, found.keypoints1, None, None, None, None, found.confidence
