"""Evaluates matchers on pairs of images with known geometry.

  python eval.py pairs DIR                            the model that ships
  python eval.py pairs DIR --weights best.safetensors
  python eval.py pairs DIR --matcher sift --out sift.json
  python eval.py pairs DIR --matcher package.module:function --sets et,kermit
  python eval.py hpatches ROOT --seeds 5              or megadepth1500, scannet1500, colmap
  python eval.py aachen DATASET LIST --out DIR        or inloc: matches for hloc
  python eval.py table astr.json sift.json            Markdown of several reports
  python eval.py table --published                    the published figures
  python eval.py compare astr.json sift.json          is the difference more than noise?
  python eval.py page astr.json sift.json --out report.html
  python eval.py sweep --photos DIR --weights tiny --matcher sift --png sweep.png
  python eval.py calibrate DIR --weights in.safetensors --out out.safetensors

A function given as a matcher is called as match(img0, img1) with uint8 grey arrays, and with K0=,
K1= if it takes them; it returns keypoints0 [k 2], keypoints1 [k 2], confidence [k] and, if it has
it, sigma [k]. With --out a run that was killed goes on by the same command. What to download for
each benchmark: astr_jax/evaluation/README.md.
"""

import argparse
import dataclasses
import hashlib
import importlib
import inspect
import os
import pathlib
import sys

from rich.console import Console

LOCALISATION = ("aachen", "inloc")


def astr_matcher(weights: str | None, resize: int | None, calibration=None):
    """The model as a matcher, and its settings for the protocol.

    weights: a name or path, None for the best that ship. resize: the long side is shrunk to it.
    calibration: instead of the weights' own.
    """
    import jax

    from astr_jax.api import RESIZE, load, match
    from astr_jax.evaluation.command import NamedMatcher
    from astr_jax.params import find_weights

    path = find_weights(weights)
    params = load(path)
    params = params.replace(calibration=calibration or params.calibration)
    threshold = params.calibration.threshold
    options = {"resize": resize or RESIZE, "threshold": threshold, "max_matches": None}

    def astr(img0, img1, K0=None, K1=None):
        estimator = "affine" if K0 is None else "pose"
        found = match(params, img0, img1, K0=K0, K1=K1, estimator=estimator, **options).compact()
        return found.keypoints0, found.keypoints1, found.confidence, found.sigma

    settings = {
        "weights": path.name,
        "weights_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "match_resize": options["resize"],
        "match_threshold": options["threshold"],
        "scale_estimator": "pose with intrinsics, else affine",
    }
    return NamedMatcher(match=astr, settings=settings, device=jax.local_devices()[0])


def astr_candidates(weights: str, resize: int, temperatures):
    """A function of a pair: all its mutual matches, whatever their confidence, sigma without its
    factor; and log P [t k] of each at every temperature, as a calibration counts it."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from astr_jax.api import Matcher, canvas_of, load, run_coarse
    from astr_jax.ops.matching import dual_softmax, log_prob_at

    params = load(weights)
    raw = dataclasses.replace(params.calibration, sigma_factor=1.0)
    params = params.replace(calibration=raw)
    matcher = Matcher(params, None, 0.0, resize, None)
    own = params.config.matching

    @jax.jit
    def log_probs(f0, f1, mask0, mask1, cell0, cell1):
        def at(factor):
            temperature = own.temperature * factor
            matrix = dual_softmax(f0, f1, mask0, mask1, temperature=temperature, block=own.block)
            return log_prob_at(matrix, cell0, cell1)[0]

        return jax.lax.map(at, jnp.asarray(temperatures, jnp.float32))

    def candidates(img0, img1, K0=None, K1=None):
        image0, image1 = (matcher.encode(image, None, "image") for image in (img0, img1))
        found = matcher.match(image0, image1, K0, K1)
        rows = max(canvas_of(image.shape, resize)[0] for image, _ in (image0, image1))
        both = [features for _, features in (image0, image1)]
        coarse, _, _ = run_coarse(params, *both, np.float32(0.0), rows=rows)
        cells = rows // 8 * both[0].mask8.shape[2]  # the others are padding
        maps = [x[0][:cells] for x in (*coarse, *(f.mask8.reshape(1, -1) for f in both))]
        log_prob = np.asarray(log_probs(*maps, found.cell0, found.cell1))
        log_prob, found = log_prob[:, found.valid], found.compact()
        return (found.keypoints0, found.keypoints1, found.confidence, found.sigma), log_prob

    return candidates


def imported_matcher(path: str):
    """The function of package.module:function, made to accept K0 and K1, as a matcher."""
    from astr_jax.evaluation.command import NamedMatcher

    module_name, _, name = path.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
        source = pathlib.Path(module.__file__).read_bytes()
    except (SyntaxError, AttributeError) as error:
        raise ValueError(f"{module_name} is no module of Python in a file ({error}).") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"{module_name} has no function {name!r}.")
    stated = {"matcher": path, "source_sha256": hashlib.sha256(source).hexdigest()}
    parameters = inspect.signature(function).parameters
    if {"K0", "K1"} <= set(parameters) or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return NamedMatcher(match=function, settings=stated)

    def without(img0, img1, K0=None, K1=None):
        return function(img0, img1)

    return NamedMatcher(match=without, settings=stated)


def find_matcher(name: str, weights: str | None, resize: int | None):
    """A matcher by its name on the command line."""
    from astr_jax.evaluation.classic import MATCHERS
    from astr_jax.evaluation.command import NamedMatcher

    if name == "astr":
        return astr_matcher(weights, resize)
    for option, value in (("--weights", weights), ("--resize", resize)):
        if value is not None:
            raise ValueError(f"{option} is of astr; the matcher {name} has none.")
    if name in MATCHERS:
        return NamedMatcher(match=MATCHERS[name], settings={"matcher": name})
    if ":" in name:
        return imported_matcher(name)
    known = ", ".join(["astr", *MATCHERS])
    raise ValueError(f"no matcher {name!r}. Use {known}, or package.module:function.")


def add_matcher_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--matcher",
        default="astr",
        help="astr (default), sift, rootsift, orb, akaze, or package.module:function",
    )
    parser.add_argument("--weights", help="of astr: a shipped name or a file; default: the best")


def add_benchmark(parser: argparse.ArgumentParser, name: str) -> None:
    """The options that all benchmarks share, and those of one."""
    add = parser.add_argument
    add_matcher_options(parser)
    add("--name", help="what the report calls the matcher; default: --matcher")
    add("--out", metavar="FILE.json", help="write every pair's errors to this file")
    estimators = {"metavar": "A@PX,B@PX"}
    add("--pose-estimators", help="such as poselib@1,ransac@0.5,magsac@1", **estimators)
    add("--homography-estimators", help="such as magsac@3,ransac@3,poselib@3", **estimators)
    add("--seeds", type=int, default=1, metavar="N", help="seeds 0 to N - 1 of the estimators")
    add("--max-matches", type=int, metavar="N", help="score the N most confident alone")
    sides = parser.add_mutually_exclusive_group()
    sides.add_argument("--long-side", type=int, metavar="PX", help="of the images, for matching")
    sides.add_argument("--short-side", type=int, metavar="PX", help="likewise")
    add("--multiple", type=int, metavar="PX", help="sides are rounded down to multiples of it")
    add("--resize", type=int, metavar="PX", help="of astr: its own limit of the long side")
    if name == "pairs":
        sets = {"dest": "names", "type": lambda text: text.split(","), "metavar": "A,B"}
        add("--sets", help="only these sets", **sets)
    if name == "hpatches":
        add("--keep-very-large", action="store_true", help="the eight left out by D2-Net too")
    if name == "colmap":
        add("--per-band", type=int, metavar="N", help="pairs of each band of each scene; 300")


def add_localisation(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("dataset", metavar="DATASET", help="the benchmark's folder")
    add("pairs", metavar="LIST", help='pairs, "query/a.jpg db/b.jpg" a line, as hloc makes them')
    add("--images", metavar="DIR", help="what the names of LIST stand in; default: DATASET")
    add("--out", required=True, metavar="DIR", help="where features.h5 and matches-LIST.h5 go")
    add("--allow-failures", action="store_true", help="go on without pairs that raise errors")
    add("--long-side", type=int, metavar="PX", help="of the images, for matching")
    add("--resize", type=int, metavar="PX", help="of astr: its own limit of the long side")
    add_matcher_options(parser)


def add_sweep(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--photos", required=True, nargs="+", metavar="PATH", help="photographs, or folders of them"
    )
    add("--count", type=int, default=20, metavar="N", help="photographs drawn at most; default 20")
    add("--seed", type=int, default=0, help="of the draw, of the views and of the noise")
    add("--long-side", type=int, default=640, metavar="PX", help="photographs are shrunk to it")
    add("--weights", nargs="+", help="of astr: shipped names or files; default: the best")
    add("--matcher", nargs="+", help="sift, rootsift, orb, akaze, or package.module:function")
    add("--sweep", nargs="+", metavar="NAME[=A,B]", help="these alone, at these amounts if given")
    add("--out", metavar="FILE.json", help="write all scores to this file")
    add("--png", metavar="FILE.png", help="draw them")


def add_calibrate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folders", nargs="+", metavar="DIR", help="as of pairs: development pairs")
    add("--sets", dest="names", type=lambda t: t.split(","), metavar="A,B", help="only these sets")
    add("--weights", help="a shipped name or a file; default: the best")
    add("--out", metavar="FILE.safetensors", help="may be the file of --weights")
    add("--dry-run", action="store_true", help="write nothing")
    add("--seeds", type=int, default=5, metavar="N", help="of the estimator; default 5")
    add("--long-side", type=int, metavar="PX", help="of the images, for matching; default 640")


def make_parser() -> argparse.ArgumentParser:
    from astr_jax.evaluation.command import BENCHMARKS

    raw = {"description": __doc__, "formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = argparse.ArgumentParser(prog="eval.py", **raw)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (folders, _, most) in BENCHMARKS.items():
        sub = commands.add_parser(name, help=f"match and score; {folders}")
        sub.add_argument("folders", nargs="+", metavar="DIR" if most is None else "PATH")
        add_benchmark(sub, name)
    for name in LOCALISATION:
        add_localisation(commands.add_parser(name, help="match a pair list for hloc"))
    table = commands.add_parser("table", help="Markdown tables of reports")
    table.add_argument("reports", nargs="*", metavar="REPORT.json", help="what --out wrote")
    table.add_argument(
        "--into", metavar="FILE.md", help="write them there, between <!-- results --> marks"
    )
    table.add_argument("--checked", action="store_true", help="only pairs with confirmed truth")
    table.add_argument("--published", action="store_true", help="published figures, ours beside")
    two = commands.add_parser("compare", help="two reports, pair by pair, with intervals")
    two.add_argument("first", metavar="A.json")
    two.add_argument("second", metavar="B.json")
    add_sweep(commands.add_parser("sweep", help="one change at a time: what breaks a matcher"))
    add_calibrate(commands.add_parser("calibrate", help="make confidence and sigma mean it"))
    page = commands.add_parser("page", help="curves, calibration and pictures of reports")
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
    return parser


def main(argv: list[str] | None = None) -> None:
    from astr_jax.evaluation import command

    parser = make_parser()
    arguments = parser.parse_args(argv)
    console = Console()
    try:
        if arguments.command in command.BENCHMARKS:
            command.run_benchmark(arguments, find_matcher, console)
        elif arguments.command in LOCALISATION:
            command.run_localisation(arguments, find_matcher, console)
        elif arguments.command == "page":
            command.run_page(arguments, find_matcher, console)
        elif arguments.command == "sweep":
            from astr_jax.evaluation.sweep_command import run_sweep

            run_sweep(arguments, find_matcher, console)
        elif arguments.command == "calibrate":
            from astr_jax.evaluation.calibrate_command import run_calibrate

            run_calibrate(arguments, astr_matcher, astr_candidates, console)
        elif arguments.command == "compare":
            command.run_compare(arguments, console)
        else:
            command.run_table(arguments)
    except KeyboardInterrupt:
        print("eval.py: stopped; with --out the same command goes on.", file=sys.stderr)
        sys.exit(130)
    except (ValueError, OSError, ImportError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
