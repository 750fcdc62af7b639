"""From whatever people hold to padded grey arrays, and back to their pixels.

One function, read_pixels, reads every form of an image; what is matched is also what is drawn.
"""

from astr_jax.images.arrays import check_photo
from astr_jax.images.contents import content_key
from astr_jax.images.files import UNREADABLE, opened, read_image
from astr_jax.images.levels import grey_of_levels
from astr_jax.images.masks import ALPHAS, DROP
from astr_jax.images.notices import ImageWarning, notice
from astr_jax.images.orientation import orientation, stored_shape, to_stored, to_upright
from astr_jax.images.prepared import Prepared, padded, prepare
from astr_jax.images.reading import read_pixels, to_grey, to_rgb

__all__ = [
    "ALPHAS",
    "DROP",
    "UNREADABLE",
    "ImageWarning",
    "Prepared",
    "check_photo",
    "content_key",
    "grey_of_levels",
    "notice",
    "opened",
    "orientation",
    "padded",
    "prepare",
    "read_image",
    "read_pixels",
    "stored_shape",
    "to_grey",
    "to_rgb",
    "to_stored",
    "to_upright",
]
