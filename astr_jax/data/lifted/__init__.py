"""Lifted photographs: pairs of a photograph whose parts are given depths and motions."""

from astr_jax.data.lifted.layers import LayersConfig
from astr_jax.data.lifted.pairs import LiftedConfig, LiftedPairs, make_lifted_pair

__all__ = ["LayersConfig", "LiftedConfig", "LiftedPairs", "make_lifted_pair"]
