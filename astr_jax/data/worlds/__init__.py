"""Synthetic worlds: pairs with exact depth and pose, rendered on the device."""

from astr_jax.data.worlds.atlas import Atlas, make_atlas
from astr_jax.data.worlds.config import WorldConfig
from astr_jax.data.worlds.layouts import KINDS
from astr_jax.data.worlds.pairs import render_pairs

__all__ = ["KINDS", "Atlas", "WorldConfig", "make_atlas", "render_pairs"]
