"""The options that name a matcher, or several."""

import argparse
import pathlib
from collections.abc import Sequence

from astr_jax.evaluation.matchers.named import NamedMatcher, find_matcher
from astr_jax.matching.polishing import ALL


def add_matcher(parser: argparse.ArgumentParser) -> None:
    """Which matcher, and its weights."""
    parser.add_argument(
        "--matcher",
        default="astr",
        help="astr (default), sift, rootsift, orb, akaze, or package.module:function",
    )
    parser.add_argument("--weights", help="of astr: a shipped name or a file; default: the best")


def add_matchers(parser: argparse.ArgumentParser) -> None:
    """Several matchers, to be compared."""
    add = parser.add_argument
    add("--weights", nargs="+", help="of astr: shipped names or files; default: the best")
    add("--matcher", nargs="+", help="sift, rootsift, orb, akaze, or package.module:function")


def find_matchers(
    weights: Sequence[str] | None, others: Sequence[str] | None, side: int
) -> dict[str, NamedMatcher]:
    """Matchers by their names in a figure: astr of each of the weights, and the others; without
    both, astr. side: pixels, astr's limit of the long side."""
    weights, others = weights or [], others or []
    stems = [pathlib.Path(path).stem for path in weights]
    labels = stems if len(set(stems)) == len(stems) else weights
    asked = [(label, "astr", path, side) for label, path in zip(labels, weights, strict=True)]
    for name in others if weights or others else ["astr"]:
        asked.append((name, name, None, side if name == "astr" else None))
    matchers = {}
    for label, *words in asked:
        if label in matchers:
            raise ValueError(f"the matcher {label} was given twice.")
        matchers[label] = find_matcher(*words)
    return matchers


def add_size(parser: argparse.ArgumentParser) -> None:
    """At which size the model matches, whether pictures may lie turned, and how it ends."""
    parser.add_argument(
        "--resize", type=int, metavar="PX", help="of astr: its own limit of the long side"
    )
    parser.add_argument(
        "--upright",
        action=argparse.BooleanOptionalAction,
        default="auto",
        help="of astr: image 1 is taken as it lies, or looked at in four quarter turns first "
        "[only where hardly anything agrees otherwise]",
    )
    parser.add_argument(
        "--no-polish",
        dest="polish",
        action="store_false",
        help="of astr: without the least-squares matching in the end",
    )
    parser.add_argument(
        "--keep-all",
        dest="polish",
        action="store_const",
        const=ALL,
        help="of astr: also what least-squares matching could not make exact",
    )


def asked_matcher(arguments: argparse.Namespace, resize: int | None) -> NamedMatcher:
    """The matcher that the options of add_matcher and add_size name. resize: pixels, of astr."""
    return find_matcher(
        arguments.matcher,
        arguments.weights,
        resize,
        upright=arguments.upright,
        polish=arguments.polish,
    )
