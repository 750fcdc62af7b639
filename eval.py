"""Evaluates matchers on pairs of images with known geometry.

  python eval.py pairs DIR                            the model that ships
  python eval.py pairs DIR --weights best.safetensors
  python eval.py pairs DIR --no-upright               where one picture may lie turned
  python eval.py pairs DIR --matcher sift --out sift.json
  python eval.py pairs DIR --matcher package.module:function --sets et,kermit
  python eval.py hpatches ROOT --seeds 5              or megadepth1500, scannet1500, colmap
  python eval.py aachen DATASET LIST --out DIR        or inloc: matches for hloc
  python eval.py table astr.json sift.json            Markdown of several reports
  python eval.py table --published                    the published figures
  python eval.py compare astr.json sift.json          is the difference more than noise?
  python eval.py page astr.json sift.json --out report.html
  python eval.py sweep --photos DIR --weights tiny --matcher sift --png sweep.png
  python eval.py gallery --out gallery.jpg            hard pairs, drawn
  python eval.py calibrate DIR --weights in.safetensors --out out.safetensors

A function given as a matcher is called as match(img0, img1) with uint8 grey arrays, and with K0=,
K1= if it takes them; it returns keypoints0 [k 2], keypoints1 [k 2], confidence [k] and, if it has
it, sigma [k]. With --out a run that was killed goes on by the same command. What to download for
each benchmark: astr_jax/evaluation/README.md.
"""

import argparse
import sys

from rich.console import Console

LOCALISATION = ("aachen", "inloc")


def add_matcher_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--matcher",
        default="astr",
        help="astr (default), sift, rootsift, orb, akaze, or package.module:function",
    )
    parser.add_argument("--weights", help="of astr: a shipped name or a file; default: the best")


def add_upright(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-upright",
        dest="upright",
        action="store_false",
        help="of astr: image 1 may lie turned by a quarter or a half; 3 to 5 times the time",
    )


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
    add_upright(parser)
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
    add_upright(parser)
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
    gallery = commands.add_parser("gallery", help="what a matcher cannot do, drawn")
    add_matcher_options(gallery)
    gallery.add_argument("--out", required=True, metavar="FILE", help="a .png or .jpg file")
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
        from astr_jax.cli.matchers import astr_candidates, astr_matcher, find_matcher

        if arguments.command in command.BENCHMARKS:
            command.run_benchmark(arguments, find_matcher, console)
        elif arguments.command in LOCALISATION:
            command.run_localisation(arguments, find_matcher, console)
        elif arguments.command == "page":
            command.run_page(arguments, find_matcher, console)
        elif arguments.command == "sweep":
            from astr_jax.evaluation.studies.sweep_command import run_sweep

            run_sweep(arguments, find_matcher, console)
        elif arguments.command == "gallery":
            from astr_jax.evaluation.studies.gallery import run_gallery

            run_gallery(arguments, find_matcher, console)
        elif arguments.command == "calibrate":
            from astr_jax.evaluation.studies.calibrate_command import run_calibrate

            run_calibrate(arguments, astr_matcher, astr_candidates, console)
        elif arguments.command == "compare":
            command.run_compare(arguments, console)
        else:
            command.run_table(arguments)
    except KeyboardInterrupt:
        resumes = arguments.command in (*command.BENCHMARKS, *LOCALISATION)
        words = "; with --out the same command goes on" if resumes else ""
        print(f"eval.py: stopped{words}.", file=sys.stderr)
        sys.exit(130)
    except (ValueError, OSError, ImportError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
