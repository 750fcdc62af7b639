"""Write the averaged weights of a training run to one file.

examples:
  astr export runs/small --out small.safetensors     of the best checkpoint
  astr export runs/small --out small.safetensors --step 40000
  astr export runs/small --out small.safetensors --dtype bfloat16     half the size
  astr export runs/small --out start.safetensors --unfolded           to train on from

`astr_jax.load`, and --weights of the other commands, read the file. The best checkpoint is that
with the highest score on held-back data. Batch norm is merged into the convolutions, for inference
alone, unless --unfolded. With --dtype bfloat16 kernels are rounded to 8 bits; they are float32
again when loaded.
"""

import pathlib

from astr_jax.cli.files import check_output
from astr_jax.params import fold_params, save_params


def add_arguments(parser) -> None:
    """The options of astr export."""
    parser.add_argument("run_folder", metavar="RUN", help="the --workdir of astr train")
    parser.add_argument("--out", required=True, metavar="FILE", help="a .safetensors file")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--step", type=int, metavar="N", help="the checkpoint of this step")
    which.add_argument(
        "--best", action="store_true", help="the one of the highest score; so without any option"
    )
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default="float32", help="of kernels [float32]"
    )
    parser.add_argument("--unfolded", action="store_true", help="keep batch norm, to train on from")
    parser.add_argument(
        "--note", metavar="TEXT", help="origin and terms, instead of the experiment's own note"
    )


def run(options) -> None:
    """Reads the checkpoint, writes the file and says what it is."""
    from astr_jax.training.export import read_run  # needs the "data" extra

    check_output(options.out, ("safetensors",))
    read = read_run(options.run_folder, options.step)
    if options.best and read.score is None:
        raise ValueError(
            f"{options.run_folder} has no checkpoint with a score; take one by --step."
        )
    params = read.params if options.unfolded else fold_params(read.params)
    own = read.note if options.note is None else options.note
    note = f"{read.name}, step {read.step}. {own}".strip()
    save_params(options.out, params, note=note, dtype=options.dtype)
    score = "no score" if read.score is None else f"score {read.score:.4g}"
    kind = "batch norm unfolded" if options.unfolded else "batch norm folded"
    size = pathlib.Path(options.out).stat().st_size / 1e6
    print(f"wrote {options.out}: step {read.step}, {score}, {size:.2f} MB, {options.dtype}, {kind}")
    print(f"note: {note}")
