"""Times the implementations beside dense masked attention.

    python -m pallas_kernels.sparse_attention.bench           attention over spots
    python -m pallas_kernels.sparse_attention.bench --dual    the matching matrix P on spots
    python -m pallas_kernels.sparse_attention.bench --growth  lists that grow, queries that do not

The spots follow a smooth field, a rotation by 30 degrees and scaling by 1.3: the windows of a
query lie around the matches of itself and of 4 cells near it. A share of the matches, the
outliers, is random; with --outliers 1 all are.

GB/s, TFLOP/s and the share of the roofline count what the operator needs by its definition, the
same for every implementation, so the three compare as the times do. Over L pairs (query, key):

    attention   4 L h d operations, q, k, v, out and the centres (or lists) once;
                with gradients 12 L h d (the scores of the way back are not counted again), and
                the gradients and the cotangent once too
    --dual      2 L c operations, with gradients 6 L c; features, centres and results once

dense_masked (XLA, all scores at once) and dense_cudnn (jax.nn.dot_product_attention) add a bias
[n m] that is ready beforehand, -1e30 outside the spots; they do not depend on the outliers, so
they run once for each n. On a CPU the Pallas kernels are interpreted: they run only
where --only names them.
"""

import argparse
import dataclasses
import importlib.util
import itertools
import json
import pathlib
import sys
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels.sparse_attention import dispatch
from pallas_kernels.sparse_attention.bench_problems import (
    CHOICE,
    CUDNN,
    DENSE,
    attention_function,
    attention_problem,
    bias_of,
    dual_function,
    dual_problem,
    field_spots,
    grid_of,
)
from pallas_kernels.sparse_attention.bench_rows import HEADER, Bench, Case, Fit, Row, fits
from pallas_kernels.sparse_attention.choice import mean_active_tiles
from pallas_kernels.sparse_attention.pairs import Lists
from pallas_kernels.sparse_attention.windows import Spots
from pallas_kernels.timing import peaks_of

NAMES = (CHOICE, *dispatch.IMPLEMENTATIONS, DENSE, CUDNN)
OF_DUAL = (CHOICE, "gather", "pallas_lists", "pallas_tiles", DENSE)  # "gather": plain XLA
OF_GROWTH = (CHOICE, *dispatch.OF_LISTS)
SLOTS = (16, 32, 64, 128, 256, 512)


def spot_rows(part: str, names: list[str], o: argparse.Namespace, bench: Bench) -> Iterator[Row]:
    """Attention or, in the part "dual", P over spots."""
    for n, outliers in itertools.product(o.n, o.outliers):
        spots = field_spots(grid_of(n), outliers)
        lists = jax.jit(Spots.lists)(spots)
        keys = float((lists.cells >= 0).sum(axis=1).mean())
        case = Case(part, n, keys, outliers, float(jax.jit(mean_active_tiles)(spots)))
        if part == "dual":
            make, bias_dtype = dual_function, "float32"
            problem = dual_problem(spots, lists, o.heads * o.dim, o.dtype)
        else:
            make, bias_dtype = attention_function, o.dtype
            problem = attention_problem(spots, lists, o.heads, o.dim, o.dtype)
        for name in names:
            if name not in (DENSE, CUDNN):
                yield from bench.rows(case, name, make(name), problem)
            elif outliers == o.outliers[0]:  # on which dense attention does not depend
                masked = problem.with_bias(bias_of(lists, bias_dtype))
                yield from bench.rows(case, name, make(name), masked)


def growth_rows(names: list[str], o: argparse.Namespace, bench: Bench) -> Iterator[Row]:
    """Attention over lists of more and more slots: s distinct keys near the query's own."""
    for n, slots in itertools.product(o.n, o.slots):
        offsets = np.random.default_rng(0).permutation(min(2 * slots, n))[:slots]
        lists = Lists(jnp.asarray((np.arange(n)[:, None] + offsets) % n, jnp.int32), n)
        problem = attention_problem(lists, lists, o.heads, o.dim, o.dtype)
        case = Case("growth", n, len(offsets), slots=len(offsets))
        for name in names:
            yield from bench.rows(case, name, attention_function(name), problem)


def default_names(platform: str, dtype: str) -> list[str]:
    """What runs on this device and says something there; tells on stderr what does not."""
    if platform == "gpu":
        left_out = () if dtype == "bfloat16" else (CUDNN,)
        left_out += ("triton",) if importlib.util.find_spec("jax_triton") is None else ()
        why = "cuDNN takes bfloat16 alone; triton needs jax-triton"
    else:
        left_out = (CHOICE, "dense", "pallas_lists", "pallas_tiles", "triton", CUDNN)
        why = "Pallas kernels are interpreted here, others need a GPU, the rest equals what runs"
    if left_out:
        print(f"Without {', '.join(left_out)} ({why}). --only names what runs.", file=sys.stderr)
    return [name for name in NAMES if name not in left_out]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Reads the command line; the device decides what is not said."""
    on_cpu = jax.default_backend() == "cpu"
    defaults = {
        "n": [4800] if on_cpu else [4800, 10816],
        "dtype": "float32" if on_cpu else "bfloat16",
        "outliers": [0.02] if on_cpu else [0.0, 0.02, 0.1, 0.3, 1.0],
        "most_gb": 4.0 if on_cpu else 64.0,
    }
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--growth", action="store_true", help="lists that grow")
    add("--dual", action="store_true", help="the matching matrix P")
    add("--n", type=int, nargs="+", help="cells: 12 k^2 or k^2; default %(default)s")
    add("--heads", type=int, default=8)
    add("--dim", type=int, default=32, help="channels per head; of --dual heads * dim")
    add("--dtype", choices=["float32", "bfloat16"], help="default %(default)s")
    add("--outliers", type=float, nargs="+", help="shares of wrong matches; default %(default)s")
    add("--slots", type=int, nargs="+", default=SLOTS, help="of --growth; default %(default)s")
    add("--only", nargs="+", choices=NAMES, metavar="NAME", help=f"any of {', '.join(NAMES)}")
    add("--repeats", type=int, default=5, help="of which the median is told")
    add("--most-gb", type=float, help="rows that need more memory are left out; %(default)s")
    add("--json", type=pathlib.Path, metavar="FILE", help="writes all figures")
    parser.set_defaults(**defaults)
    o = parser.parse_args(arguments)
    try:
        for n in o.n:
            grid_of(n)
    except ValueError as error:
        parser.error(str(error))
    o.only = o.only or default_names(jax.default_backend(), o.dtype)
    return o


def run(o: argparse.Namespace) -> tuple[list[Row], list[Fit]]:
    """Measures and prints."""
    parts = {"dual": OF_DUAL} if o.dual else {}
    parts |= {"growth": OF_GROWTH} if o.growth else {}
    rows = []
    for part, known in (parts or {"attention": NAMES}).items():
        peaks = peaks_of(jax.devices()[0], "float32" if part == "dual" else o.dtype)
        print(
            f"peaks: {peaks.flops_per_s / 1e12:.3g} TFLOP/s, {peaks.bytes_per_s / 1e9:.3g} GB/s "
            f"({peaks.source})"
        )
        given = [name for name in o.only if name in known], o, Bench(peaks, o.repeats, o.most_gb)
        for row in growth_rows(*given) if part == "growth" else spot_rows(part, *given):
            if not rows or row.case != rows[-1].case:
                print(f"\n{row.case}\n{HEADER}")
            print(row, flush=True)
            rows.append(row)
    lines = list(fits(rows))
    print(*lines, sep="\n")
    return rows, lines


def main(arguments: list[str] | None = None) -> None:
    o = parse(arguments)
    device = f"{jax.devices()[0].device_kind}, jax {jax.__version__}"
    print(f"{device}, {o.dtype}, {o.heads} heads of {o.dim} channels, median of {o.repeats}")
    rows, lines = run(o)
    if o.json:
        found = {"rows": rows, "fits": lines}
        found = {name: [dataclasses.asdict(x) for x in given] for name, given in found.items()}
        options = {name: value for name, value in vars(o).items() if name != "json"}
        text = json.dumps({"device": device, "options": options, **found}, indent=1)
        o.json.write_text(text + "\n")
    sys.exit(any(row.note.startswith("failed") for row in rows))


if __name__ == "__main__":
    main()
