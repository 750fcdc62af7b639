"""Matching by ONNX Runtime, for astr match."""

from astr_jax.cli.files import files_first
from astr_jax.cli.found import timed, write_matches
from astr_jax.images import DROP, read_image
from astr_jax.matching.scales import AUTO


def add_runtime(parser) -> None:
    """The options that name a runtime."""
    parser.add_argument(
        "--runtime", choices=("jax", "onnx"), default="jax", help="what computes [jax]"
    )
    parser.add_argument(
        "--onnx", metavar="DIR", help="the graphs of --runtime onnx, by astr export --onnx"
    )


def run_onnx(options) -> None:
    """Matches by ONNX Runtime, and writes as astr match does.

    Raises ValueError for what it cannot do.
    """
    from astr_jax.export.onnx_matcher import OnnxMatcher

    if not options.onnx:
        raise ValueError("--runtime onnx needs --onnx DIR, which astr export --onnx DIR writes.")
    asked = {
        "--weights": options.weights,
        "--resize": options.resize,
        "--intrinsics": options.intrinsics,
        "--no-upright": options.upright is False,
        "--scales": options.scales and [float(s) for s in options.scales if s != AUTO] != [1.0],
        "--mask0": options.mask0,
        "--mask1": options.mask1,
        "--alpha": options.alpha != DROP,
        "--attention": options.attention,
        "--grids": options.grids,
        "--flow": options.flow,
    }
    refused = [name for name, value in asked.items() if value]
    if refused:
        raise ValueError(
            f"--runtime onnx does not take {', '.join(refused)}: a graph has its weights and its "
            "size, and matches upright pictures at scale 1 without masks and intrinsics. Leave it "
            "out, or take --runtime jax."
        )
    left, right = read_image(options.left, "LEFT"), read_image(options.right, "RIGHT")
    matcher = OnnxMatcher(options.onnx)
    given = {name: getattr(options, name) for name in ("threshold", "max_matches", "polish")}
    matches, said = timed(lambda: matcher.match(left, right, **given), lambda x: x, "with loading")
    with files_first(said):
        write_matches(options, left, right, matches)
