"""Write weights of a run to one file, or programs for other runtimes.

examples:
  astr export runs/small --out small.safetensors     of the best checkpoint
  astr export runs/small --out small.safetensors --step 40000
  astr export runs/small --out small.safetensors --dtype bfloat16     half the size
  astr export runs/small --out start.safetensors --unfolded           to train on from
  astr export --onnx graphs                          the weights that ship, for ONNX Runtime
  astr export small.safetensors --onnx graphs --size 320x256 --float16
  astr export --stablehlo programs                   for JAX without this package
  astr export --web web/public/model                 for the page in web/, as make web does

`astr_jax.load`, and --weights of the other commands, read the weights file. The best checkpoint is
that with the highest score on held-back data. Batch norm is merged into the convolutions, for
inference alone, unless --unfolded. With --dtype bfloat16 kernels are rounded to 8 bits; they are
float32 again when loaded.

--onnx, --stablehlo and --web take weights: a shipped name or a .safetensors file. They write the
stages of a match, and the whole match, for one size of pictures, and compare them with JAX on the
portrait of astr demo: at least 99.5 % of the matches must be the same within 0.02 px
(docs/export.md). --web writes the stages alone, and an example with the matches found in it.
"""

import argparse
import contextlib
import pathlib
from collections.abc import Iterator

from rich.console import Console

from astr_jax.cli.files import check_output
from astr_jax.params import (
    SHIPPED,
    find_weights,
    fold_params,
    load_params,
    read_header,
    save_params,
)

OF_A_RUN = ("step", "best", "unfolded", "note")  # options that programs do not take
SIZE = (480, 640)  # height, width
WEB_SIZE = (288, 384)  # in a browser a match of 640 x 480 takes some three times as long


def add_arguments(parser) -> None:
    """The options of astr export."""
    parser.add_argument(
        "source",
        nargs="?",
        metavar="RUN",
        help="the --workdir of astr train; with --onnx, --stablehlo or --web "
        f"{' or '.join(SHIPPED)}, or a .safetensors file [the best that ships]",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", metavar="FILE", help="weights: a .safetensors file")
    what.add_argument("--onnx", metavar="DIR", help="ONNX graphs, into this folder")
    what.add_argument("--stablehlo", metavar="DIR", help="files of jax.export, into this folder")
    what.add_argument("--web", metavar="DIR", help="what the page in web/ needs, into this folder")
    which = parser.add_argument_group("weights of a run").add_mutually_exclusive_group()
    which.add_argument("--step", type=int, metavar="N", help="the checkpoint of this step")
    which.add_argument(
        "--best", action="store_true", help="the one of the highest score; so without any option"
    )
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="of kernels [float32]")
    parser.add_argument("--unfolded", action="store_true", help="keep batch norm, to train on from")
    parser.add_argument(
        "--note", metavar="TEXT", help="origin and terms, instead of the experiment's own note"
    )
    programs = parser.add_argument_group("programs")
    programs.add_argument(
        "--size",
        type=read_size,
        metavar="WxH",
        help="of the pictures, multiples of 32; others are shrunk to it, and padded [640x480, of "
        "--web 384x288]",
    )
    programs.add_argument(
        "--implementation",
        metavar="NAME",
        help="of the sparse attention: gather, or dense, or for StableHLO segment_sum [gather]",
    )
    programs.add_argument(
        "--float16", action="store_true", help="weights of ONNX as float16: half the size"
    )


def read_size(text: str) -> tuple[int, int]:
    """(height, width) of "640x480"."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"takes width x height, such as 640x480; got {text!r}"
        ) from None
    return height, width


def run(options) -> None:
    """Writes what was asked for, and says what it is."""
    if options.out:
        for name in ("size", "implementation", "float16"):
            if getattr(options, name):
                raise ValueError(f"--{name} is of --onnx, --stablehlo and --web, not of --out.")
        if options.source is None:
            raise ValueError("--out needs a RUN: the --workdir of astr train.")
        write_weights(options)
    else:
        for name in (*OF_A_RUN, "dtype"):
            if getattr(options, name):
                raise ValueError(f"--{name} belongs to --out: write a weights file first.")
        write_programs(options)


def write_programs(options) -> None:
    """Writes ONNX, StableHLO, or what the page needs."""
    from astr_jax.cli.demo import read_photo
    from astr_jax.data.demo import demo_pair

    folder = check_folder(options.onnx or options.stablehlo or options.web)
    weights = find_weights(options.source)
    pair = demo_pair(read_photo("portrait"))
    given = {
        "size": options.size or (WEB_SIZE if options.web else SIZE),
        "pair": (pair.image0, pair.image1),
        "implementation": options.implementation or "gather",
        "note": read_header(weights).note,
    }
    with exporting():
        if options.onnx:
            from astr_jax.export.onnx_files import export_onnx

            done = export_onnx(load_params(weights), folder, half=options.float16, **given)
        elif options.web:
            from astr_jax.data.town import paint_town
            from astr_jax.export.web_files import export_web

            town = demo_pair(paint_town())
            example = town.image0, town.image1
            params = load_params(weights)
            done = export_web(params, folder, example=example, half=options.float16, **given)
        else:
            if options.float16:
                raise ValueError("--float16 belongs to --onnx and --web.")
            from astr_jax.export.stablehlo import export_stablehlo

            done = export_stablehlo(load_params(weights), folder, **given)
    for file in done.files:
        print(f"wrote {file} ({file.stat().st_size / 1e6:.2f} MB)")
    print(f"compared with JAX: {done.agreement}")
    print(f"note: {given['note']}")


def check_folder(path: str) -> pathlib.Path:
    """A folder that exists, or can be made. Raises ValueError."""
    folder = pathlib.Path(path)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{path} is a file; give a folder.")
    if not folder.resolve().parent.is_dir():
        raise ValueError(f"{path} cannot be made: there is no folder {folder.parent}.")
    return folder


@contextlib.contextmanager
def exporting() -> Iterator[None]:
    """Says on stderr, if it is a terminal, what takes long."""
    with Console(stderr=True).status("exporting, and compiling to compare: some minutes ..."):
        yield


def write_weights(options) -> None:
    """Reads the checkpoint, writes the weights file and says what it is."""
    from astr_jax.training.export import read_run  # needs the "data" extra

    check_output(options.out, ("safetensors",))
    read = read_run(options.source, options.step)
    if options.best and read.score is None:
        raise ValueError(f"{options.source} has no checkpoint with a score; take one by --step.")
    params = read.params if options.unfolded else fold_params(read.params)
    own = read.note if options.note is None else options.note
    note = f"{read.name}, step {read.step}. {own}".strip()
    dtype = options.dtype or "float32"
    save_params(options.out, params, note=note, dtype=dtype)
    score = "no score" if read.score is None else f"score {read.score:.4g}"
    kind = "batch norm unfolded" if options.unfolded else "batch norm folded"
    size = pathlib.Path(options.out).stat().st_size / 1e6
    print(f"wrote {options.out}: step {read.step}, {score}, {size:.2f} MB, {dtype}, {kind}")
    print(f"note: {note}")
