"""Compare JAX, ONNX Runtime and StableHLO on the same pairs: matches and time.

examples:
  astr eval runtimes PAIRS --onnx graphs --stablehlo programs      20 pairs of PAIRS
  astr eval runtimes PAIRS --onnx graphs --into docs/export.md     between <!-- runtimes --> marks

astr export --onnx graphs and astr export --stablehlo programs write the folders.
PAIRS is a folder of pairs as astr eval pairs takes it; of each set one pair is taken in turn. All
match at one size and at scale 1. Seconds are medians over the pairs, which every runtime matches in
turns; CPU seconds are of all threads. Close other programs first.
"""

import pathlib

from rich.console import Console
from rich.table import Table

from astr_jax.cli.export import SIZE, read_size
from astr_jax.cli.files import check_marks, write_between
from astr_jax.cli.progress import progress_bar
from astr_jax.evaluation.benchmarks.pairs import read_pairs
from astr_jax.evaluation.reports.tables import print_table
from astr_jax.evaluation.studies.runtimes import compared, in_turn, lines_of, runtimes_of
from astr_jax.params import SHIPPED, find_weights, load_params

MARK = "runtimes"


def add_arguments(parser) -> None:
    """The options of astr eval runtimes."""
    parser.add_argument("folders", nargs="+", metavar="PAIRS", help="folders of pairs")
    parser.add_argument("--onnx", metavar="DIR", help="graphs, by astr export --onnx")
    parser.add_argument("--stablehlo", metavar="DIR", help="programs, by astr export --stablehlo")
    parser.add_argument(
        "--weights", metavar="NAME", help=f"of JAX: {' or '.join(SHIPPED)}, or a file [the best]"
    )
    parser.add_argument("--count", type=int, default=20, metavar="N", help="pairs [20]")
    parser.add_argument("--size", type=read_size, default=SIZE, metavar="WxH", help="[640x480]")
    parser.add_argument("--into", metavar="FILE.md", help="write the table there, between marks")


def run(options) -> None:
    """Matches every pair by every runtime, and prints the table."""
    if options.into is not None:
        check_marks(pathlib.Path(options.into), MARK)
    if options.count < 1:
        raise ValueError(f"--count must be at least 1; got {options.count}.")
    if not (options.onnx or options.stablehlo):
        raise ValueError("nothing to compare JAX with: give --onnx DIR, --stablehlo DIR, or both.")
    pairs = in_turn(read_pairs(options.folders), options.count)
    params = load_params(find_weights(options.weights))
    runtimes = runtimes_of(params, options.size, options.onnx, options.stablehlo)
    threshold = params.calibration.threshold
    with progress_bar(Console(stderr=True)) as bar:
        rows = compared(runtimes, pairs, options.size, threshold)
        rows = list(bar.track(rows, total=len(pairs), description="pairs"))
    head, *lines = lines_of(rows)
    matches = sum(row.matches for row in rows)
    title = f"{len(rows)} pairs, {matches:,} matches, {options.size[1]} x {options.size[0]}"
    table = Table(title=title)
    for column in head:
        table.add_column(column, justify="right" if column else "left")
    for line in lines:
        table.add_row(*line)
    print_table(table, Console())
    if options.into:
        text = [head, ["---", *["---:"] * (len(head) - 1)], *lines]
        rows_of_text = "\n".join(f"| {' | '.join(line)} |" for line in text)
        write_between(pathlib.Path(options.into), MARK, f"{title}.\n\n{rows_of_text}")
        print(f"wrote {options.into}")
