"""Matches in the forms of other packages; docs/adapters.md has their conventions.

Import the module that you want: each needs its package, and `astr_jax` needs none of them.
COLMAP's database is written by `astr_jax.reconstruction.database`, hloc's h5 files by
`astr_jax.evaluation.localisation`.
"""
