"""What the commands of localisation share: matches of a list of pairs, as hloc reads them."""

import argparse
import dataclasses

from rich.console import Console

from astr_jax.cli.eval.matcher import add_matcher, add_size, asked_matcher
from astr_jax.cli.progress import progress_bar
from astr_jax.evaluation.localisation.export import PROTOCOLS, next_command, write_matches

GOES_ON = "; the same command goes on"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The data, the list of pairs, and where the matches go."""
    add = parser.add_argument
    add("dataset", metavar="DATASET", help="the benchmark's folder")
    add("pairs", metavar="LIST", help='pairs, "query/a.jpg db/b.jpg" a line, as hloc makes them')
    add("--images", metavar="DIR", help="what the names of LIST stand in; default: DATASET")
    add("--out", required=True, metavar="DIR", help="where features.h5 and matches-LIST.h5 go")
    add("--allow-failures", action="store_true", help="go on without pairs that raise errors")
    add("--long-side", type=int, metavar="PX", help="of the images, for matching")
    add_size(parser)
    add_matcher(parser)


def run_localisation(name: str, arguments: argparse.Namespace) -> None:
    """Writes what hloc reads, and prints its command to go on."""
    console, rule = Console(), PROTOCOLS[name]
    resize = rule.resize
    if arguments.long_side:
        resize = dataclasses.replace(resize, long_side=arguments.long_side)
    astr = arguments.matcher == "astr"
    side = arguments.resize or (resize.long_side if astr else None)
    matcher = asked_matcher(arguments, side)
    images = arguments.images or arguments.dataset
    with progress_bar(console) as bar:
        task = bar.add_task(arguments.matcher, total=None)
        written = write_matches(
            matcher.match,
            arguments.pairs,
            images,
            arguments.out,
            resize,
            quantisation=rule.quantisation,
            encode=matcher.encode,
            settings=matcher.settings,
            allow_failures=arguments.allow_failures,
            on_pair=lambda pair: bar.update(task, advance=1),
            say=lambda text: console.print(text, markup=False),
        )
    for pair, message in written.failures.items():
        console.print(f"failed: {pair}: {message}", markup=False)
    console.print(
        f"{written.num_pairs} pairs, {written.num_new} of them new: {written.features}, "
        f"{written.matches}. Go on with:",
        markup=False,
    )
    print(
        next_command(
            name,
            written,
            dataset=arguments.dataset,
            image_dir=images,
            pairs_file=arguments.pairs,
        )
    )
