"""Experiments on weights: what breaks them, what a part of them gains, how they are calibrated."""
