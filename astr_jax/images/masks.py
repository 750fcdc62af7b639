"""Masks: True where an image is usable. From arrays, from files, and from an image's own alpha."""

import numpy as np
from jaxtyping import Bool
from PIL import Image

from astr_jax.images.arrays import as_array, check_array
from astr_jax.images.files import is_file, read_image

DROP, MASK = "drop", "mask"
ALPHAS = (DROP, MASK)  # what is done with an image's alpha


def to_mask(mask, shape: tuple[int, ...], batched: bool, name: str) -> Bool[np.ndarray, "b h w"]:
    """The mask for each image of a batch [b h w], all True for None. Raises ValueError.

    mask: bool [h w] or, of a batch, [b h w]; or a file of one (`read_mask`).
    """
    if mask is None:
        return np.ones(shape, bool)
    if is_file(mask):
        mask = read_mask(mask, f"the mask of {name}")
    mask = as_array(mask, f"the mask of {name}")
    wanted = shape if batched else shape[1:]
    if mask.ndim and mask.shape[-1] == 1 and mask.shape[:-1] in (wanted, shape[1:]):
        mask = mask[..., 0]
    if mask.dtype != bool or mask.shape not in (wanted, shape[1:]):
        hint = " Try mask > 0." if mask.dtype != bool else ""
        raise ValueError(
            f"the mask of {name} must be bool {wanted}, True where usable; "
            f"got {mask.dtype} {mask.shape}.{hint}"
        )
    return np.broadcast_to(mask, shape)


def read_mask(source, name: str) -> Bool[np.ndarray, "h w"]:
    """A mask from an image file: usable where it is brighter than half of its brightest level.

    So black is hidden, whether white is 1 or 255. Raises FileNotFoundError or ValueError.
    """
    image = read_image(source, name)
    levels = np.asarray(image if image.mode[0] in "IF1" else image.convert("L"))
    return levels > levels.max() / 2


def opaque(image, name: str) -> np.ndarray | np.bool_:
    """Where an image, a PIL one or an array, is at least half opaque; all of one without alpha."""
    if isinstance(image, Image.Image):
        if not image.has_transparency_data:
            return np.True_
        return np.asarray(image.convert("RGBA").getchannel("A"))[None] > 127
    array = as_array(image, name)
    batched, channels = check_array(array, name)
    if channels not in (2, 4):
        return np.True_
    usable = array[..., -1] > (127 if array.dtype == np.uint8 else 0.5)
    return usable if batched else usable[None]
