"""Flax modules that know features only."""
