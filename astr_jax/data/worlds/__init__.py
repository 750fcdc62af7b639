"""Synthetic worlds: pairs with exact depth and pose, rendered on the device."""

from astr_jax.data.worlds.atlas import Atlas, atlas_of_some, make_atlas
from astr_jax.data.worlds.config import EXACT_TOLERANCE, WorldConfig
from astr_jax.data.worlds.layouts import KINDS
from astr_jax.data.worlds.pairs import render_pairs

__all__ = [
    "EXACT_TOLERANCE",
    "KINDS",
    "Atlas",
    "WorldConfig",
    "atlas_of_some",
    "make_atlas",
    "render_pairs",
]
