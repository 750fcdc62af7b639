"""Weights that are trained on from a user's own photographs, without labels of theirs."""
