"""From two images to their matches."""

from astr_jax.matching.encoded import EncodedImage, EncodedImages
from astr_jax.matching.matcher import Candidates, Matcher
from astr_jax.matching.options import RESIZE, MatchOptions

__all__ = ["RESIZE", "Candidates", "EncodedImage", "EncodedImages", "MatchOptions", "Matcher"]
