"""Compiles every kernel for an H200, or an H100, that is not there.

    python -m pallas_kernels.sparse_attention.aot --gpu h200

A machine without a GPU can thus see that the kernels lower, compile, and fit the shared memory;
it cannot see whether they are right or fast. The table has the time of compiling and the
temporary memory that the compiler plans. The exit code is 1 when any case fails.
"""

import argparse
import collections
import functools
import itertools
import sys
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from pallas_kernels import gpu_compiler
from pallas_kernels.sparse_attention.api import (
    attend,
    sparse_attention,
    sparse_dual_softmax,
    spot_attention,
    spot_dual_softmax,
)
from pallas_kernels.sparse_attention.pairs import Pairs
from pallas_kernels.sparse_attention.spans import Spans
from pallas_kernels.target import GPUS, compile_for, gpu_mesh, one_line

SLOTS = 125  # of a spot: five windows of 5 x 5
DTYPES = ("float32", "bfloat16")
DIRECTIONS = ("forward", "backward")  # backward: the forward pass with its gradients
# Bytes of shared memory that a kernel may take here. The GPU has 1.6 times as many, since a kernel
# takes half as much again with one version of JAX as with another.
ROOM = 144 * 1024
HEADER = (
    f"{'kernel':14} {'grid':>7} {'h':>2} {'d':>4} {'dtype':9} {'direction':9} {'s':>6} {'MB':>7}"
)


class Size(NamedTuple):
    """A problem: as many queries as keys."""

    grid: tuple[int, int]  # cells, h w
    heads: int
    channels: int  # per head

    @property
    def cells(self) -> int:
        return self.grid[0] * self.grid[1]


SIZES = (  # all head sizes, one head and eight, 320 x 240 and 640 x 480 pixels; 30 is no 8 k
    Size((30, 40), 1, 16),
    Size((60, 80), 8, 32),
    Size((30, 40), 8, 64),
    Size((60, 80), 1, 128),
)


def features(size: Size, dtype: str) -> jax.ShapeDtypeStruct:
    """What each of q, k and v is."""
    return jax.ShapeDtypeStruct((size.cells, size.heads, size.channels), dtype)


def lists(implementation: str, size: Size, dtype: str) -> tuple:
    """Attention over lists of keys: the function, and the shapes of its arguments."""
    function = functools.partial(sparse_attention, implementation=implementation)
    cells = jax.ShapeDtypeStruct((size.cells, SLOTS), jnp.int32)
    return function, (*[features(size, dtype)] * 3, cells)


def spots(implementation: str | None, size: Size, dtype: str) -> tuple:
    """Attention over spots of five windows of 5 x 5, with masks."""
    function = functools.partial(spot_attention, **where(size), implementation=implementation)

    def masked(q, k, v, centres, valid):
        return function(q, k, v, centres, valid0=valid, valid1=valid)

    return masked, (*[features(size, dtype)] * 3, *spot_shapes(size))


def weighted_pairs(implementation: str, size: Size, dtype: str) -> tuple:
    """Attention over pairs in any order, with weights: a fifth as many as in lists."""

    def function(q, k, v, weights, m_q, m_k):
        pairs = Pairs(m_q, m_k, size.cells, size.cells, weights)
        return attend(q, k, v, pairs, implementation=implementation)

    pairs = jax.ShapeDtypeStruct((size.cells * SLOTS // 5,), jnp.int32)
    weights = jax.ShapeDtypeStruct(pairs.shape, dtype)
    return function, (*[features(size, dtype)] * 3, weights, pairs, pairs)


def spans(implementation: str, size: Size, dtype: str) -> tuple:
    """Attention over spans of 5 x 5 bilinear samples, with gradients of centres and sizes."""

    def function(q, k, v, centres, halves, valid):
        index = Spans(centres, halves, valid, valid, size.grid, size.grid, samples=5)
        return attend(q, k, v, index, implementation=implementation)

    places = jax.ShapeDtypeStruct((size.cells, 2), dtype)
    valid = jax.ShapeDtypeStruct((size.cells,), bool)
    return function, (*[features(size, dtype)] * 3, places, places, valid)


def dual_lists(implementation: str, size: Size, dtype: str) -> tuple:
    """The sparse dual softmax over lists; it is float32 whatever the features are."""

    def numbers(f0, f1, cells):
        matrix = sparse_dual_softmax(f0, f1, cells, scale=0.1, implementation=implementation)
        return matrix.lse0, matrix.lse1, matrix.best_log_prob

    rows = jax.ShapeDtypeStruct((size.cells, size.heads * size.channels), dtype)
    return numbers, (rows, rows, jax.ShapeDtypeStruct((size.cells, SLOTS), jnp.int32))


def dual_spots(implementation: str | None, size: Size, dtype: str) -> tuple:
    """The sparse dual softmax over spots."""

    def numbers(f0, f1, centres, valid):
        knobs = {**where(size), "valid0": valid, "valid1": valid}
        matrix = spot_dual_softmax(
            f0, f1, centres, **knobs, scale=0.1, implementation=implementation
        )
        return matrix.lse0, matrix.lse1, matrix.best_log_prob

    rows = jax.ShapeDtypeStruct((size.cells, size.heads * size.channels), dtype)
    return numbers, (rows, rows, *spot_shapes(size))


def where(size: Size) -> dict:
    return {"grid0": size.grid, "grid1": size.grid, "window": 5}


def spot_shapes(size: Size) -> tuple:
    """Of centres and of the masks of both images."""
    n = size.cells
    return jax.ShapeDtypeStruct((n, 5), jnp.int32), jax.ShapeDtypeStruct((n,), bool)


CASES = {  # name: (size, dtype) -> the function and the shapes of its arguments; sizes; dtypes
    "segment_sum": (functools.partial(lists, "segment_sum"), SIZES[1:2], DTYPES),  # plain XLA
    "pallas_lists": (functools.partial(lists, "pallas_lists"), SIZES, DTYPES),
    "pairs_weighted": (functools.partial(weighted_pairs, "pallas_lists"), SIZES[1:2], DTYPES[:1]),
    "spans": (functools.partial(spans, "pallas_lists"), SIZES[1:2], DTYPES),
    "pallas_tiles": (functools.partial(spots, "pallas_tiles"), SIZES, DTYPES),
    "tiles_or_lists": (functools.partial(spots, None), SIZES[1:2], DTYPES[1:]),  # by a condition
    "dual_lists": (functools.partial(dual_lists, "pallas_lists"), SIZES[:2], DTYPES[:1]),
    "dual_tiles": (functools.partial(dual_spots, "pallas_tiles"), SIZES[:2], DTYPES[:1]),
    "dual_either": (functools.partial(dual_spots, None), SIZES[1:2], DTYPES[:1]),
}


KERNELS = tuple(name for name in CASES if name != "segment_sum")


def with_gradients(function):
    """The function's result and its gradients, as a function of the same arguments.

    The result stands for its own cotangent: values do not matter here, shapes do.
    """

    def both(*arguments):
        out, pull = jax.vjp(function, *arguments)
        return out, [g for g in pull(out) if g.dtype != jax.dtypes.float0]

    return both


def compile_case(
    build, size: Size, dtype: str, direction: str, mesh, kernel: bool
) -> tuple[float, float]:
    """Compiles one case, which has a kernel or is plain XLA; returns the seconds that took and the
    temporary memory in MB."""
    begin = time.perf_counter()
    function, shapes = build(size, dtype)
    function = function if direction == "forward" else with_gradients(function)
    compiled = compile_for(mesh, function, *shapes)
    if kernel and "triton" not in compiled.as_text():
        raise RuntimeError("no Triton kernel is in the program: it was interpreted instead")
    memory = compiled.memory_analysis().temp_size_in_bytes / 1e6
    return time.perf_counter() - begin, memory


def compile_all(cases: dict, mesh) -> collections.Counter:
    """Compiles and prints every case; returns how many "passed" and "failed"."""
    count = collections.Counter()
    for name, (build, sizes, dtypes) in cases.items():
        for size, dtype, direction in itertools.product(sizes, dtypes, DIRECTIONS):
            grid = f"{size.grid[1]}x{size.grid[0]}"
            case = f"{name:14} {grid:>7} {size.heads:2} {size.channels:4} {dtype:9} {direction:9}"
            try:
                seconds, memory = compile_case(build, size, dtype, direction, mesh, name in KERNELS)
            except Exception as error:  # whatever it is, the other cases go on
                count["failed"] += 1
                print(f"{case} failed: {one_line(error)}", flush=True)
            else:
                count["passed"] += 1
                print(f"{case} {seconds:6.1f} {memory:7.1f}", flush=True)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=CASES, default=CASES, metavar="NAME")
    parser.add_argument("--gpu", choices=GPUS, default="h200", help="what to compile for")
    gpu_compiler.add_argument(parser)
    options = parser.parse_args()
    gpu_compiler.start(__spec__.name, options.env)
    mesh = gpu_mesh(options.gpu, ROOM)
    print(f"for {mesh.devices[0].device_kind}, jax {jax.__version__}\n{HEADER}")
    begin = time.perf_counter()
    count = compile_all({name: CASES[name] for name in options.only}, mesh)
    print(
        f"{count['passed']} compiled, {count['failed']} failed, {time.perf_counter() - begin:.0f} s"
    )
    sys.exit(count["failed"] > 0)


if __name__ == "__main__":
    main()
