"""Attention in which every query looks only at its own list of keys."""

from pallas_kernels.sparse_attention.api import (
    IMPLEMENTATIONS,
    choose_implementation,
    sparse_attention,
    sparse_attention_pairs,
)
from pallas_kernels.sparse_attention.checks import check_cells, check_pairs

__all__ = [
    "IMPLEMENTATIONS",
    "check_cells",
    "check_pairs",
    "choose_implementation",
    "sparse_attention",
    "sparse_attention_pairs",
]
