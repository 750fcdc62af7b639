"""What a model should find: the truth of pairs, and which part of it supervises a step."""

from astr_jax.supervision.ground_truth import DEPTH_TOLERANCE, GroundTruth
from astr_jax.supervision.layers_truth import NOTHING, LayersTruth
from astr_jax.supervision.tracks_truth import TracksTruth
from astr_jax.supervision.truths import DepthTruth, PairBatch, PlaneTruth, Truth

__all__ = [
    "DEPTH_TOLERANCE",
    "NOTHING",
    "DepthTruth",
    "GroundTruth",
    "LayersTruth",
    "PairBatch",
    "PlaneTruth",
    "TracksTruth",
    "Truth",
]
