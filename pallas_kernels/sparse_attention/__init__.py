"""Attention in which every query looks only at its own list of keys, and P on such lists."""

from pallas_kernels.sparse_attention.api import (
    attend,
    dual_softmax,
    sparse_attention,
    sparse_attention_pairs,
    sparse_dual_softmax,
    spot_attention,
    spot_dual_softmax,
)
from pallas_kernels.sparse_attention.checks import check_cells, check_pairs
from pallas_kernels.sparse_attention.dispatch import IMPLEMENTATIONS, choose_implementation
from pallas_kernels.sparse_attention.dual_softmax import SparseDualSoftmax
from pallas_kernels.sparse_attention.index import Index, PaddedIndex
from pallas_kernels.sparse_attention.pairs import Lists, Pairs
from pallas_kernels.sparse_attention.spans import Spans
from pallas_kernels.sparse_attention.unions import Both
from pallas_kernels.sparse_attention.windows import Spots, union_of_windows, window_cells

__all__ = [
    "IMPLEMENTATIONS",
    "Both",
    "Index",
    "Lists",
    "PaddedIndex",
    "Pairs",
    "Spans",
    "SparseDualSoftmax",
    "Spots",
    "attend",
    "check_cells",
    "check_pairs",
    "choose_implementation",
    "dual_softmax",
    "sparse_attention",
    "sparse_attention_pairs",
    "sparse_dual_softmax",
    "spot_attention",
    "spot_dual_softmax",
    "union_of_windows",
    "window_cells",
]
