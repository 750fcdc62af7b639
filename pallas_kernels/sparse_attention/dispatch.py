"""Which implementation runs: the tables of names, and what None chooses from static facts."""

import jax.numpy as jnp

from pallas_kernels.sparse_attention.choice import tiles_or_lists
from pallas_kernels.sparse_attention.dense import dense_attention
from pallas_kernels.sparse_attention.differentiable import (
    differentiable,
    differentiable_log_sum_exps,
    differentiable_with_bias,
)
from pallas_kernels.sparse_attention.dual_softmax_lists import (
    lists_best,
    lists_log_sum_exps,
    lists_slopes,
)
from pallas_kernels.sparse_attention.dual_softmax_tiles import (
    LARGEST_CHANNELS,
    tiles_best,
    tiles_log_sum_exps,
    tiles_slopes,
)
from pallas_kernels.sparse_attention.gather import gather_attention
from pallas_kernels.sparse_attention.index import Index, PaddedIndex
from pallas_kernels.sparse_attention.pairs import Lists, Pairs
from pallas_kernels.sparse_attention.pallas_lists import (
    biased_lists_backward,
    lists_backward,
    lists_forward,
)
from pallas_kernels.sparse_attention.pallas_tiles import (
    LARGEST_ROW,
    LARGEST_WINDOW,
    tiles_backward,
    tiles_forward,
)
from pallas_kernels.sparse_attention.segment_sum import (
    segment_sum_attention,
    segment_sum_lists,
)
from pallas_kernels.sparse_attention.triton_lists import triton_lists_attention
from pallas_kernels.sparse_attention.windows import Spots
from pallas_kernels.target import target_platform

IMPLEMENTATIONS = ("segment_sum", "gather", "dense", "pallas_lists", "pallas_tiles", "triton")
TILES_OR_LISTS = "tiles_or_lists"  # what None chooses for spots on a GPU

_DENSE_KEYS_PER_SLOT = 10  # up to so many, dense is the fastest: measured on a CPU (README)

pallas_lists_attention = differentiable(lists_forward, lists_backward)
_biased_pallas_lists = differentiable_with_bias(lists_forward, biased_lists_backward)


def _by_pallas_lists(q, k, v, index: Lists | Pairs, bias=None):
    if bias is None:
        return pallas_lists_attention(q, k, v, index)
    return _biased_pallas_lists(q, k, v, bias, index)


# Each: (q, k, v, Lists without weights, logarithms of the weights or None) -> out, after the door's
# checks.
OF_LISTS = {
    "segment_sum": lambda q, k, v, lists, bias=None: segment_sum_lists(q, k, v, lists.cells, bias),
    "gather": lambda q, k, v, lists, bias=None: gather_attention(q, k, v, lists.cells, bias),
    "dense": lambda q, k, v, lists, bias=None: dense_attention(q, k, v, lists.cells, bias),
    "pallas_lists": _by_pallas_lists,
    "triton": triton_lists_attention,
}
OF_PAIRS = {  # the same for Pairs
    "segment_sum": lambda q, k, v, pairs, bias=None: segment_sum_attention(
        q, k, v, pairs.m_q, pairs.m_k, bias
    ),
    "pallas_lists": _by_pallas_lists,
}
OF_SPOTS = {  # each: (q, k, v, Spots) -> out
    "pallas_tiles": differentiable(tiles_forward, tiles_backward),
    TILES_OR_LISTS: differentiable(
        tiles_or_lists(tiles_forward, lists_forward), tiles_or_lists(tiles_backward, lists_backward)
    ),
}
DUAL_OF_LISTS = differentiable_log_sum_exps(lists_log_sum_exps, lists_slopes), lists_best
DUAL_OF_SPOTS = {  # each: (f0, f1, Spots) -> lse0, lse1; and (f0, f1, lse0, lse1, Spots) -> best
    "pallas_tiles": (differentiable_log_sum_exps(tiles_log_sum_exps, tiles_slopes), tiles_best),
    TILES_OR_LISTS: (
        differentiable_log_sum_exps(
            tiles_or_lists(tiles_log_sum_exps, lists_log_sum_exps),
            tiles_or_lists(tiles_slopes, lists_slopes),
        ),
        tiles_or_lists(tiles_best, lists_best),
    ),
}


def choose_implementation(platform: str, *, num_keys: int, slots: int) -> str:
    """Names the implementation that `implementation=None` runs for lists, from static facts.

    platform: as `target_platform` says it. The rule for a CPU is measured (README). Where there
    is neither a CPU nor a GPU, the serial tiles of "gather" would idle the device.
    """
    if platform == "gpu":
        return "pallas_lists"
    if num_keys <= _DENSE_KEYS_PER_SLOT * slots:
        return "dense"
    return "gather" if platform == "cpu" else "segment_sum"


def why_no_tiles(window: int, *, row: int = 0, channels: int = 0) -> str:
    """Why "pallas_tiles" cannot run, or nothing. row: bytes of a head's channels in attention;
    channels: of the features of a dual softmax."""
    if window > LARGEST_WINDOW:
        return f"windows of up to {LARGEST_WINDOW}, got {window}"
    if row > LARGEST_ROW:
        return f"heads of up to {LARGEST_ROW} bytes (128 channels of float32), got {row}"
    if channels > LARGEST_CHANNELS:
        return f"features of up to {LARGEST_CHANNELS} channels, got {channels}"
    return ""


def choose_for_spots(
    platform: str, *, num_keys: int, windows: int, window: int, tiles: bool = True
) -> str:
    """The same for spots of `windows` windows: on a GPU tiles or lists, decided while it runs,
    where tiles can run at all."""
    if platform == "gpu" and tiles:
        return TILES_OR_LISTS
    return choose_implementation(platform, num_keys=num_keys, slots=windows * window**2)


def attend_spots(implementation: str, q, k, v, spots: Spots):
    """Runs an implementation on spots, as lists where it knows only these."""
    if implementation in OF_SPOTS:
        return OF_SPOTS[implementation](q, k, v, spots)
    return OF_LISTS[implementation](q, k, v, spots.lists())


def names_for(index: Index) -> tuple[str, ...]:
    """The implementations of attention over an index."""
    if isinstance(index, Spots):
        return IMPLEMENTATIONS
    if isinstance(index, PaddedIndex):
        return tuple(name for name in IMPLEMENTATIONS if name != "pallas_tiles")
    return tuple(OF_PAIRS)


def attend_index(implementation: str | None, q, k, v, index: Index):
    """Runs an implementation, or what None chooses, on an index that is ready."""
    platform = target_platform()
    if isinstance(index, Spots):
        obstacle = why_no_tiles(index.window, row=q.shape[-1] * q.dtype.itemsize)
        return attend_spots(choice_for_spots(implementation, index, obstacle), q, k, v, index)
    if isinstance(index, PaddedIndex):
        lists = index.lists()
        facts = {"num_keys": k.shape[0], "slots": lists.cells.shape[1]}
        implementation = implementation or choose_implementation(platform, **facts)
        bias, held = log_weights(lists.weights, lists.cells)
        return OF_LISTS[implementation](q, k, v, Lists(held, lists.num_keys), bias)
    pairs = index.pairs()
    if pairs.m_q.shape[0] == 0:
        return jnp.zeros_like(q)
    implementation = implementation or ("pallas_lists" if platform == "gpu" else "segment_sum")
    bias, m_q = log_weights(pairs.weights, pairs.m_q)
    pairs = Pairs(m_q, pairs.m_k, pairs.num_queries, pairs.num_keys)
    return OF_PAIRS[implementation](q, k, v, pairs, bias)


def log_weights(weights, indices) -> tuple:
    """The logarithms of the weights, and the indices, -1 where a weight is 0; None for None."""
    if weights is None:
        return None, indices
    some = weights > 0
    return jnp.log(jnp.where(some, weights, 1.0)), jnp.where(some, indices, -1)


def choice_for_spots(implementation: str | None, spots: Spots, obstacle: str) -> str:
    """The implementation of spots. obstacle: why tiles cannot run, or nothing."""
    if implementation == "pallas_tiles" and obstacle:
        raise ValueError(
            f'implementation="pallas_tiles" takes {obstacle}. Use None or "pallas_lists".'
        )
    return implementation or choose_for_spots(
        target_platform(),
        num_keys=spots.valid1.shape[0],
        windows=spots.centres.shape[1],
        window=spots.window,
        tiles=not obstacle,
    )
