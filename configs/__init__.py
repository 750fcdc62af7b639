"""Experiments: each file documents its command, hardware, time and expected score.

`astr_jax.configurations` reads them.
"""
