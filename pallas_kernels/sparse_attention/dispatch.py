"""Which implementation runs: the tables of names, and what None chooses from static facts."""

from pallas_kernels.sparse_attention.choice import tiles_or_lists
from pallas_kernels.sparse_attention.dense import dense_attention
from pallas_kernels.sparse_attention.differentiable import (
    differentiable,
    differentiable_log_sum_exps,
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
from pallas_kernels.sparse_attention.pallas_lists import lists_backward, lists_forward
from pallas_kernels.sparse_attention.pallas_tiles import (
    LARGEST_ROW,
    LARGEST_WINDOW,
    tiles_backward,
    tiles_forward,
)
from pallas_kernels.sparse_attention.segment_sum import segment_sum_lists
from pallas_kernels.sparse_attention.triton_lists import triton_lists_attention
from pallas_kernels.sparse_attention.windows import Spots

IMPLEMENTATIONS = ("segment_sum", "gather", "dense", "pallas_lists", "pallas_tiles", "triton")
TILES_OR_LISTS = "tiles_or_lists"  # what None chooses for spots on a GPU

_DENSE_KEYS_PER_SLOT = 10  # up to so many, dense is the fastest: measured on a CPU (README)

pallas_lists_attention = differentiable(lists_forward, lists_backward)

OF_LISTS = {  # each: (q, k, v, Lists) -> out, after the door's checks
    "segment_sum": lambda q, k, v, lists: segment_sum_lists(q, k, v, lists.cells),
    "gather": lambda q, k, v, lists: gather_attention(q, k, v, lists.cells),
    "dense": lambda q, k, v, lists: dense_attention(q, k, v, lists.cells),
    "pallas_lists": pallas_lists_attention,
    "triton": triton_lists_attention,
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
