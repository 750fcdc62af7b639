"""Print reports as Markdown tables, or write them into a page.

examples:
  astr eval table astr.json sift.json
  astr eval table astr.json sift.json --checked            pairs with confirmed truth alone
  astr eval table astr.json --published                    the papers' figures, ours beside them
  astr eval table astr.json sift.json --into page.md       between <!-- results --> marks
"""

import argparse
import pathlib

from astr_jax.cli.files import write_between
from astr_jax.evaluation.reports.report import read_report, told_apart
from astr_jax.evaluation.reports.tables import markdown_tables, published_tables


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of astr eval table."""
    add = parser.add_argument
    add("reports", nargs="*", metavar="REPORT.json", help="what --out of a benchmark wrote")
    add("--into", metavar="FILE.md", help="write them there, between <!-- results --> marks")
    add("--checked", action="store_true", help="only pairs with confirmed truth")
    add("--published", action="store_true", help="published figures, ours beside")


def run(arguments: argparse.Namespace) -> None:
    """Prints the Markdown tables of reports, or the published figures beside them; or writes them
    into a Markdown file."""
    reports = told_apart([read_report(path) for path in arguments.reports])
    if arguments.published:
        name, text = "published", published_tables(reports)
    elif not reports:
        raise ValueError("give the reports to print, or --published.")
    else:
        name, text = "results", markdown_tables(reports, checked_only=arguments.checked)
    if arguments.into is None:
        print(text)
    else:
        write_between(pathlib.Path(arguments.into), name, text)
