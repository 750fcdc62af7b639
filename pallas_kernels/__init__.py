"""Attention over irregular lists of keys, in JAX: one door, several implementations."""
