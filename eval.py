"""Evaluates matchers on pairs of images with known geometry.

  python eval.py pairs DIR                            the model that ships
  python eval.py pairs DIR --weights best.safetensors
  python eval.py pairs DIR --matcher sift --out sift.json
  python eval.py pairs DIR --matcher package.module:function --sets et,kermit
  python eval.py table astr.json sift.json            Markdown of several reports

DIR holds an index.json beside its images, or folders that do. Each entry of it has image0, image1
and either K0, K1, T_0to1 (pose) or H_0to1 (homography). A function given as a matcher is called as
match(img0, img1) with uint8 grey arrays, and with K0=, K1= if it takes them; it returns
keypoints0 [k 2], keypoints1 [k 2] and confidence [k].
"""

import argparse
import hashlib
import importlib
import inspect
import os
import pathlib
import sys

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table


def astr_matcher(weights: str | None):
    """The model as a matcher, and its settings for the protocol.

    weights: a name or path, None for the best that ship.
    """
    from astr_jax.api import RESIZE, find_weights, load, match

    path = find_weights(weights)
    params = load(path)
    options = {"resize": RESIZE, "threshold": params.calibration.threshold, "max_matches": None}

    def astr(img0, img1, K0=None, K1=None):
        estimator = "affine" if K0 is None else "pose"
        found = match(params, img0, img1, K0=K0, K1=K1, estimator=estimator, **options).compact()
        return found.keypoints0, found.keypoints1, found.confidence

    return astr, {
        "weights": path.name,
        "weights_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "match_resize": options["resize"],
        "match_threshold": options["threshold"],
        "max_matches": options["max_matches"],
        "scale_estimator": "pose with intrinsics, else affine",
    }


def imported_matcher(path: str):
    """The function of package.module:function, made to accept K0 and K1."""
    module_name, _, name = path.partition(":")
    sys.path.insert(0, os.getcwd())
    function = getattr(importlib.import_module(module_name), name, None)
    if not callable(function):
        raise ValueError(f"{module_name} has no function {name!r}.")
    parameters = inspect.signature(function).parameters
    if "K0" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return function
    return lambda img0, img1, K0=None, K1=None: function(img0, img1)


def find_matcher(name: str, weights: str | None):
    """A matcher by its name on the command line, and its settings for the protocol."""
    from astr_jax.evaluation.classic import MATCHERS

    if name == "astr":
        return astr_matcher(weights)
    if weights is not None:
        raise ValueError(f"--weights are of astr; the matcher {name} has none.")
    if name in MATCHERS:
        return MATCHERS[name], {}
    if ":" in name:
        return imported_matcher(name), {"function": name}
    known = ", ".join(["astr", *MATCHERS])
    raise ValueError(f"no matcher {name!r}. Use {known}, or package.module:function.")


def screen_table(scores) -> Table:
    """Scores of one kind of truth, of all pairs or of checked ones, as a table for the terminal."""
    from astr_jax.evaluation.report import THRESHOLDS, auc_text

    first = scores[0]
    what, unit = ("pose", "degrees") if first.kind == "pose" else ("corner", "px")
    at = "/".join(f"{threshold:g}" for threshold in THRESHOLDS[first.kind])
    which = "checked pairs" if first.checked_only else "all pairs"
    table = Table(title=f"{what} AUC@{at} {unit}, {which}", box=box.SIMPLE_HEAD)
    table.add_column("set", no_wrap=True)
    rights = [f"right {name.removeprefix('epi@')}" for name in first.precision]
    for column in ["pairs", *first.auc, *rights, "matches", "seconds", "failed"]:
        table.add_column(column, justify="right", no_wrap=column in first.auc)
    for score in scores:
        table.add_row(
            score.set,
            str(score.num_pairs),
            *map(auc_text, score.auc.values()),
            *(f"{100 * share:.1f}" for share in score.precision.values()),
            f"{score.num_matches:.0f}",
            f"{score.seconds:.2f}",
            str(score.num_failures),
        )
    return table


def run_pairs(arguments: argparse.Namespace, console: Console) -> None:
    """Matches every pair, prints the scores, and writes the report if asked."""
    from astr_jax.evaluation.pairs import evaluate_pairs, read_pairs
    from astr_jax.evaluation.report import Report, protocol, score_sets, write_report

    if arguments.out and not pathlib.Path(arguments.out).resolve().parent.is_dir():
        raise ValueError(f"{arguments.out} cannot be written: its folder does not exist.")
    pairs = read_pairs(arguments.directories, arguments.sets)
    matcher, settings = find_matcher(arguments.matcher, arguments.weights)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    with bar:
        task = bar.add_task(arguments.matcher, total=len(pairs))
        records = evaluate_pairs(
            matcher, pairs, on_record=lambda r: bar.update(task, advance=1, description=r.set)
        )
    name = arguments.name or arguments.matcher
    report = Report(matcher=name, protocol=protocol(settings), records=tuple(records))
    if arguments.out:
        write_report(report, arguments.out)
    for kind in dict.fromkeys(record.kind for record in records):
        group = [record for record in records if record.kind == kind]
        console.print(screen_table(score_sets(group)))
        if 0 < sum(record.checked for record in group) < len(group):
            console.print(screen_table(score_sets(group, checked_only=True)))
    console.print(f"{name}: " + ", ".join(f"{k} {v}" for k, v in report.protocol.items()))
    for record in records:
        if record.failure:
            console.print(f"failed: {record.set} {record.name}: {record.failure}", markup=False)


def run_table(arguments: argparse.Namespace) -> None:
    """Prints the Markdown tables of reports."""
    from astr_jax.evaluation.report import markdown_tables, read_report

    reports = [read_report(path) for path in arguments.reports]
    print(markdown_tables(reports, checked_only=arguments.checked))


def make_parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="eval.py", description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True)
    pairs = commands.add_parser(
        "pairs", help="match pairs and score them", description=__doc__, formatter_class=raw
    )
    pairs.add_argument("directories", nargs="+", metavar="DIR", help="folder of pairs, or of sets")
    pairs.add_argument(
        "--matcher",
        default="astr",
        help="astr (default), sift, rootsift, orb, akaze, or package.module:function",
    )
    pairs.add_argument("--weights", help="of astr: a shipped name or a file; default: the best")
    pairs.add_argument("--name", help="what the report calls the matcher; default: --matcher")
    pairs.add_argument(
        "--sets", type=lambda text: text.split(","), metavar="A,B", help="only these sets"
    )
    pairs.add_argument("--out", metavar="FILE.json", help="write every pair's errors to this file")
    table = commands.add_parser("table", help="Markdown tables of reports")
    table.add_argument("reports", nargs="+", metavar="REPORT.json", help="what --out wrote")
    table.add_argument("--checked", action="store_true", help="only pairs with confirmed truth")
    return parser


def main(argv: list[str] | None = None) -> None:
    parser = make_parser()
    arguments = parser.parse_args(argv)
    try:
        if arguments.command == "pairs":
            width = max(120, Console().width)  # a cut table tells less than one too wide
            run_pairs(arguments, Console(width=width))
        else:
            run_table(arguments)
    except (ValueError, OSError, ImportError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
