"""Match two images, draw the matches and save them.

examples:
  astr match left.jpg right.jpg                        how many matches, and how fast
  astr match left.jpg right.jpg --out matches.png      lines coloured by confidence
  astr match left.jpg right.jpg --save matches.npz     keypoints0, keypoints1, confidence, sigma ...
  astr match left.jpg right.jpg --resize 1024          larger: more and finer matches, slower
  astr match left.jpg right.jpg --intrinsics 1200,1200,960,540        one camera for both
  astr match left.jpg right.jpg --mask0 people.png     black pixels of the mask are left out
  astr match left.jpg right.jpg --no-upright           right.jpg may lie turned by a quarter or half
  astr match left.jpg right.jpg --attention 320,240    where that pixel of the left image looks
  astr match left.jpg right.jpg --grids grids.png      the adaptive grids of the fine stage
  astr match left.jpg right.jpg --flow flow.png        where every cell of the left image goes

Points are (x, y) in pixels of the images as given, turned upright by their EXIF tag; (0, 0) is the
centre of the top-left pixel. The first run compiles, for about a minute; what it compiled is kept
for the next (astr warm --help).
"""

import argparse
import contextlib
from collections.abc import Iterator

import jax
import numpy as np
from PIL import Image
from rich.console import Console

from astr_jax import api
from astr_jax.cli.files import (
    PICTURES,
    check_output,
    files_first,
    mask_of,
    read_intrinsics,
    read_point,
    save_figure,
)
from astr_jax.cli.found import timed, write_matches
from astr_jax.cli.onnx_match import add_runtime, run_onnx
from astr_jax.geometry import shrunk_points
from astr_jax.images import ALPHAS, DROP, read_image
from astr_jax.instruments.attention_maps import attention_maps
from astr_jax.matching import RESIZE, EncodedImage, Matcher, MatchOptions
from astr_jax.matching.flow import flow_of
from astr_jax.matching.polishing import ALL
from astr_jax.matching.scales import AUTO
from astr_jax.params import SHIPPED
from astr_jax.viz import CellFrame, draw_attention, draw_flow, draw_grids


def add_arguments(parser) -> None:
    """The options of astr match."""
    parser.add_argument("left", help="image 0, any file that Pillow reads")
    parser.add_argument("right", help="image 1; its size may differ")
    add_weights(parser)
    parser.add_argument("--out", metavar="PNG", help="draw the matches")
    parser.add_argument("--save", metavar="NPZ", help="save the matches, one array a field")
    parser.add_argument(
        "--resize",
        type=int,
        metavar="N",
        help="limit of the long side; smaller images cost as much [640]",
    )
    parser.add_argument("--max-matches", type=int, metavar="N", help="keep the N most confident")
    parser.add_argument(
        "--threshold", type=float, metavar="T", help="least confidence, in [0, 1) [the weights']"
    )
    parser.add_argument(
        "--intrinsics",
        nargs="+",
        metavar="K",
        help="fx,fy,cx,cy in pixels, or a .json file with 3 x 3 numbers; one for both or one each",
    )
    parser.add_argument(
        "--upright",
        action=argparse.BooleanOptionalAction,
        default="auto",
        help="RIGHT stands as LEFT does; --no-upright looks at turns of it by quarters first "
        "[only where hardly anything agrees otherwise]",
    )
    parser.add_argument(
        "--scales",
        nargs="+",
        metavar="S",
        help="how much larger things look in RIGHT: powers of two from 1/8 to 8, as 2 or 0.5; "
        "several are put together [auto: by a first look]",
    )
    parser.add_argument(
        "--no-polish",
        dest="polish",
        action="store_false",
        help="without the least-squares matching in the end: a little faster, less exact",
    )
    parser.add_argument(
        "--keep-all",
        dest="polish",
        action="store_const",
        const=ALL,
        help="also what least-squares matching could not make exact "
        "[only where fewer than 20 matches would be left]",
    )
    for side in (0, 1):
        parser.add_argument(
            f"--mask{side}",
            metavar="FILE",
            help=f"a picture, black where image {side} is to be left out; or a folder that has it "
            "by the image's name",
        )
    parser.add_argument(
        "--alpha",
        choices=ALPHAS,
        default=DROP,
        help="mask: what is transparent is left out [drop: transparency counts for nothing]",
    )
    parser.add_argument(
        "--max-pixels", type=int, metavar="N", help="read images of N pixels [89 million]"
    )
    parser.add_argument("--attention", metavar="X,Y", help="draw where a point of LEFT looks")
    parser.add_argument("--attention-out", default="attention.png", metavar="PNG")
    parser.add_argument("--grids", metavar="PNG", help="draw the adaptive grids of some matches")
    parser.add_argument(
        "--flow", metavar="PNG", help="draw where every cell goes, RIGHT as it lies and at scale 1"
    )
    add_runtime(parser)


def add_weights(parser) -> None:
    """The option that names weights."""
    parser.add_argument(
        "--weights",
        metavar="NAME",
        help=f"{' or '.join(SHIPPED)}, or a .safetensors file [the best that ships]",
    )


def run(options) -> None:
    """Matches, prints, draws and saves."""
    attention = options.attention and options.attention_out
    for path in (options.out, options.grids, options.flow, attention):
        check_output(path, PICTURES)
    check_output(options.save, ("npz",))
    if options.max_pixels is not None:
        Image.MAX_IMAGE_PIXELS = options.max_pixels
    if options.runtime == "onnx":
        run_onnx(options)
        return
    if options.onnx:
        raise ValueError("--onnx belongs to --runtime onnx.")
    if options.attention and options.upright is False:
        raise ValueError(
            "--attention shows RIGHT as it lies, --no-upright may match it turned: take one of "
            "them, or turn the file."
        )
    K0, K1 = read_intrinsics(options.intrinsics)
    point = read_point(options.attention) if options.attention else None
    left, right = read_image(options.left, "LEFT"), read_image(options.right, "RIGHT")
    masks = mask_of(options.mask0, options.left), mask_of(options.mask1, options.right)
    if point and not (0 <= point[0] < left.width and 0 <= point[1] < left.height):
        raise ValueError(
            f"--attention {options.attention} is outside LEFT ({left.width} x {left.height})."
        )
    params = api.load(options.weights)
    names = "max_matches", "threshold", "upright", "polish", "alpha"
    asked = {name: getattr(options, name) for name in names}
    asked["resize"] = RESIZE if options.resize is None else options.resize
    asked["scales"] = read_scales(options.scales or [AUTO])
    if options.attention:  # which is drawn of RIGHT as it lies
        asked["upright"] = True
    matcher = Matcher(params, MatchOptions(**asked))

    def once():
        with compiling():
            return match_pair(matcher, (left, right), masks, K0, K1)

    (image0, image1, matches), said = timed(once, lambda found: found[2], "with compiling")
    with files_first(said):
        write_files(options, matcher, left, right, matches, (image0, image1), point)


def write_files(options, matcher, left, right, matches, images, point) -> None:
    """Saves and draws what the options ask for."""
    (image0, image1), params = images, matcher.params
    write_matches(options, left, right, matches)
    frames = {"frame0": frame_of(image0), "frame1": frame_of(image1)}
    if options.grids:
        figure = draw_grids(left, right, matches, params.config, **frames)
        save_figure(figure, options.grids)
    if options.flow:
        flow = flow_of(matcher, image0, image1, refine=True)
        save_figure(draw_flow(left, right, flow), options.flow)
    if point:
        working = shrunk_points(np.array(point), image0.prepared.scale).astype(np.float32)
        maps = attention_maps(
            params.config, params.variables, image0.features, image1.features, working
        )
        save_figure(draw_attention(left, right, maps, **frames), options.attention_out)


def read_scales(words: list[str]) -> str | tuple[float, ...]:
    """The scales of the command line. Raises ValueError."""
    if words == [AUTO]:
        return AUTO
    try:
        return tuple(float(word) for word in words)
    except ValueError:
        raise ValueError(f"--scales takes auto, or numbers; got {' '.join(words)}.") from None


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Says on stderr, if it is a terminal, why the first match takes long, until it is done."""
    folder = jax.config.jax_compilation_cache_dir
    words = "compiling; nothing is kept for the next run (astr warm --help)"
    if folder:
        words = f"compiling, or reading what {folder} has kept"
    with Console(stderr=True).status(f"{words} ..."):
        yield


def match_pair(matcher: Matcher, images, masks, K0, K1) -> tuple:
    """Both encoded images, and the compact matches."""
    names = "LEFT", "RIGHT"
    given = zip(images, masks, names, strict=True)
    image0, image1 = (matcher.encode(image, mask, name=name) for image, mask, name in given)
    return image0, image1, matcher.match(image0, image1, K0, K1).compact()


def frame_of(image: EncodedImage) -> CellFrame:
    """How the coarse cells of an encoded image lie in its pixels as given."""
    return CellFrame(image.features.mask8.shape[2], image.prepared.scale)
