"""glue-factory: a matcher of two views, for its two-view pipelines and benchmarks.

model:
  name: two_view_pipeline
  matcher:
    name: astr_jax.adapters.gluefactory
    resize: 1024
"""

import numpy as np

from astr_jax.adapters.tensors import DEFAULTS, TensorMatcher, array_of, tensor_of

try:
    from gluefactory.models.base_model import BaseModel
except ImportError as error:
    raise ImportError(
        "astr_jax.adapters.gluefactory needs glue-factory, which cannot be imported here: install "
        f"it from its repository. ({error})"
    ) from error

HALF = 0.5  # pixels: glue-factory's coordinates are so much more than ours


class ASTR(BaseModel):
    """A matcher without keypoints of its own: row i of both images is match i."""

    default_conf = DEFAULTS
    required_data_keys = ("view0", "view1")

    def _init(self, conf):
        self.net = TensorMatcher.from_conf(conf)

    def _forward(self, data):
        """Of view0 and view1, each with "image" [B C H W] in [0, 1], C = 1 or 3, and if it is
        padded "image_size" [B 2], (w, h):

        keypoints0, keypoints1 [B K 2] float32, (0.5, 0.5) the centre of the top-left pixel;
        matches0, matches1 [B K] int64, -1 on the padding of pairs with fewer matches;
        matching_scores0, matching_scores1, keypoint_scores0, keypoint_scores1 [B K] float32.
        """
        views = data["view0"], data["view1"]
        images = [view["image"] for view in views]
        masks = [masks_of(view) for view in views]
        found = [self.net(*pair) for pair in zip(*images, *masks, strict=True)]
        count = max(map(len, found))

        def padded(rows, value=0):
            filled = np.full((len(rows), count, *rows[0].shape[1:]), value, rows[0].dtype)
            for row, filled_row in zip(rows, filled, strict=True):
                filled_row[: len(row)] = row
            return tensor_of(filled, like=images[0])

        numbers = padded([np.arange(len(matches), dtype=np.int64) for matches in found], -1)
        scores = padded([matches.confidence for matches in found])
        return {
            "keypoints0": padded([matches.keypoints0 + np.float32(HALF) for matches in found]),
            "keypoints1": padded([matches.keypoints1 + np.float32(HALF) for matches in found]),
            **{f"matches{k}": numbers for k in (0, 1)},
            **{f"{of}_scores{k}": scores for of in ("matching", "keypoint") for k in (0, 1)},
        }

    def loss(self, pred, data):
        """glue-factory asks every model for one, and those that it does not train raise
        NotImplementedError, as this does: `astr train` trains."""
        raise NotImplementedError("train with astr train; this adapter matches only.")


def masks_of(view: dict) -> list:
    """A mask of each image of a view, False on its padding; None where no size is given."""
    count, _, height, width = view["image"].shape
    if "image_size" not in view:
        return [None] * count
    y, x = np.arange(height)[:, None], np.arange(width)
    return [(x < w) & (y < h) for w, h in array_of(view["image_size"])]
