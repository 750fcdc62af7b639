"""ASTR, the Adaptive Spot-Guided Transformer for local feature matching, in JAX.

params = astr_jax.load()
matches = astr_jax.match(params, "left.jpg", "right.jpg").compact()
"""

from astr_jax.api import flow, load, match, match_pairs
from astr_jax.params import Calibration, Params
from astr_jax.types import FlowMap, Matches

__version__ = "0.1.0"
__all__ = ["Calibration", "FlowMap", "Matches", "Params", "flow", "load", "match", "match_pairs"]
