"""hloc: a dense matcher for its match_dense, beside LoFTR.

    from hloc import match_dense
    from astr_jax.adapters.hloc import register

    features, matches = match_dense.main(register(), pairs, images, export_dir=outputs)

For files that hloc reads, written without it, there are `astr eval aachen` and `astr eval inloc`.
"""

import sys
import types

from astr_jax.adapters.tensors import DEFAULTS, TensorMatcher, tensor_of

try:
    import hloc.matchers
    from hloc.utils.base_model import BaseModel
except ImportError as error:
    raise ImportError(
        "astr_jax.adapters.hloc needs hloc, which cannot be imported here: install it from its "
        f"repository, Hierarchical-Localization. ({error})"
    ) from error


class ASTR(BaseModel):
    """A matcher in the style of hloc.matchers.

    As hloc's own LoFTR it finds the points of image 0, the query, between pixels, while those of
    image 1 lie on a grid, so that the pairs of a database image share them.
    """

    default_conf = DEFAULTS | {"resize": 1024}
    required_inputs = ("image0", "image1")

    def _init(self, conf):
        self.net = TensorMatcher.from_conf(conf)

    def _forward(self, data):
        """One pair: image0 and image1 [1 C H W] in [0, 1], mask0 and mask1 [1 H W] if you like.

        Returns keypoints0 and keypoints1 [N 2] and scores [N], float32; (0, 0) is the centre of the
        top-left pixel. Raises ValueError.
        """
        images = data["image0"], data["image1"]
        if any(image.shape[0] != 1 for image in images):
            raise ValueError(
                f"hloc's matchers take one pair at a time; got {images[0].shape[0]} and "
                f"{images[1].shape[0]} images."
            )
        masks = [data[name][0] if name in data else None for name in ("mask0", "mask1")]
        found = self.net(images[1][0], images[0][0], masks[1], masks[0])
        return {
            "keypoints0": tensor_of(found.keypoints1, like=images[0]),
            "keypoints1": tensor_of(found.keypoints0, like=images[0]),
            "scores": tensor_of(found.confidence, like=images[0]),
        }


def register(name: str = "astr", **options) -> dict:
    """Makes hloc find the matcher as hloc.matchers.NAME in this process.

    options: weights, resize, threshold and so on, as of `astr_jax.match`. Returns a configuration
    for match_dense, with the settings of its "loftr_aachen". Raises ValueError for other options.
    """
    unknown = sorted(set(options) - set(DEFAULTS))
    if unknown:
        raise ValueError(f"unknown options: {', '.join(unknown)}; there are {', '.join(DEFAULTS)}.")
    module = types.ModuleType(f"{hloc.matchers.__name__}.{name}", __doc__)
    module.ASTR = type("ASTR", (ASTR,), {"__module__": module.__name__})
    sys.modules[module.__name__] = module
    return {
        "output": f"matches-{name}",
        "model": {"name": name, **options},
        "preprocessing": {"grayscale": True, "resize_max": 1024, "dfactor": 8},
        "max_error": 2,
        "cell_size": 8,
    }
