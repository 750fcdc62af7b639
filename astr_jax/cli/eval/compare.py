"""Compare two reports pair by pair: is the difference more than noise.

examples:
  astr eval compare sift.json astr.json
"""

import argparse

from rich.console import Console

from astr_jax.evaluation.reports.compare import compare, comparison_tables, verdicts
from astr_jax.evaluation.reports.report import read_report
from astr_jax.evaluation.reports.tables import print_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two reports."""
    parser.add_argument("first", metavar="A.json")
    parser.add_argument("second", metavar="B.json")


def run(arguments: argparse.Namespace) -> None:
    """Prints the differences with their intervals, and what they say."""
    console = Console()
    comparison = compare(read_report(arguments.first), read_report(arguments.second))
    for table in comparison_tables(comparison):
        print_table(table, console)
    for line in verdicts(comparison):
        console.print(line, markup=False, highlight=False)
