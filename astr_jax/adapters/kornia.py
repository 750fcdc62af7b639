"""kornia: a matcher that takes and gives what kornia.feature.LoFTR does.

    matcher = ASTR("tiny", resize=832)
    found = matcher({"image0": image0, "image1": image1})

It needs PyTorch, but not kornia.
"""

import os

import numpy as np

from astr_jax.adapters.tensors import TensorMatcher, tensor_of
from astr_jax.params import Params


class ASTR:
    """A callable with the contract of kornia.feature.LoFTR.

    weights, options: as of `TensorMatcher`.
    """

    def __init__(self, weights: Params | str | os.PathLike | None = None, **options):
        self.net = TensorMatcher(weights, **options)

    def __call__(self, data: dict) -> dict:
        """Matches each image of a batch with its partner.

        data: "image0" [B 1 H W] and "image1" [B 1 h w], tensors in [0, 1], and if you like "mask0"
        [B H W] and "mask1" [B h w], 0 where nothing is to be seen.

        Returns "keypoints0" and "keypoints1" [N 2], "confidence" [N], all float32, and
        "batch_indexes" [N] int64, on the device of image0. Points are (x, y); (0, 0) is the centre
        of the top-left pixel, as elsewhere in kornia. Raises ValueError.
        """
        images = data["image0"], data["image1"]
        shapes = [tuple(image.shape) for image in images]
        if not all(len(shape) == 4 for shape in shapes) or shapes[0][0] != shapes[1][0]:
            raise ValueError(
                "image0 and image1 must be [B 1 H W] of as many images; got "
                f"{shapes[0]} and {shapes[1]}."
            )
        count = shapes[0][0]
        masks = [data.get(name) for name in ("mask0", "mask1")]
        masks = [[None] * count if mask is None else mask for mask in masks]
        found = [self.net(*pair) for pair in zip(*images, *masks, strict=True)]
        rows = {
            name: np.concatenate([getattr(matches, name) for matches in found])
            for name in ("keypoints0", "keypoints1", "confidence")
        }
        numbers = np.repeat(np.arange(count), [len(matches) for matches in found])
        rows["batch_indexes"] = numbers.astype(np.int64)
        return {name: tensor_of(array, like=images[0]) for name, array in rows.items()}
