"""Draw reports: error curves, calibration, the best and the worst pairs, on one page.

examples:
  astr eval page astr.json sift.json --out report.html
  astr eval page astr.json --out report.html --images DIR      with pictures of pairs
  astr eval page astr.json sift.json --png curves.png          the curves alone
"""

import argparse

from rich.console import Console

from astr_jax.cli.files import check_output
from astr_jax.evaluation.benchmarks.reading import read_benchmark
from astr_jax.evaluation.reports.figures import draw_curves
from astr_jax.evaluation.reports.page import page_of
from astr_jax.evaluation.reports.pictures import draw_pairs, matcher_of
from astr_jax.evaluation.reports.report import read_report, told_apart
from astr_jax.files import replacing


def add_arguments(page: argparse.ArgumentParser) -> None:
    """The options of astr eval page."""
    page.add_argument("reports", nargs="+", metavar="REPORT.json")
    page.add_argument("--out", metavar="FILE.html", help="one file that needs no other")
    page.add_argument("--png", metavar="FILE.png", help="the curves alone")
    page.add_argument(
        "--images",
        nargs="+",
        metavar="DIR",
        help="the benchmark's data: match the best and worst pairs of the first report again, by "
        "its matcher, and draw them",
    )
    page.add_argument("--count", type=int, default=4, help="pairs drawn, of each; default 4")
    page.add_argument("--matcher", help="of --images; default: the one the first report states")
    page.add_argument("--weights", help="likewise: where its weights lie")


def run(arguments: argparse.Namespace) -> None:
    """Writes the HTML page, the curves as PNG, or both."""
    check_output(arguments.out), check_output(arguments.png)
    if not arguments.out and not arguments.png:
        raise ValueError("give --out FILE.html, --png FILE.png, or both.")
    if arguments.count < 0:
        raise ValueError(f"--count is a number of pairs; got {arguments.count}.")
    reports = told_apart([read_report(path) for path in arguments.reports])
    if arguments.png:
        with replacing(arguments.png) as beside:
            draw_curves(reports).savefig(beside, dpi=130)
    if arguments.out:
        pictures = []
        if arguments.images:
            first = reports[0]
            options = first.protocol.get("reader_options", {})
            benchmark = read_benchmark(first.protocol["benchmark"], arguments.images, **options)
            asked = {"name": arguments.matcher, "weights": arguments.weights}
            matcher = matcher_of(first, **asked)
            Console().print(f"matching the best and the worst pairs of {first.matcher} again")
            pictures = draw_pairs(first, benchmark, matcher, count=arguments.count)
        with replacing(arguments.out) as beside:
            beside.write_text(page_of(reports, pictures), encoding="utf-8")
