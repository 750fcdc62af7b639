"""Match a pair with known geometry, and say how many matches are right.

examples:
  astr demo                              a portrait, seen twice; writes demo.png
  astr demo town                         a painted town instead
  astr demo photo.jpg                    your own photograph instead
  astr demo --weights run/weights.safetensors --out run/demo.png
  astr demo --web                        instead a page to match any two in a browser

The portrait is matplotlib's sample photograph (Grace Hopper, by the US Navy, public domain).

Two virtual cameras look at one flat picture: 35 degrees between them, one 1.3 times as close and
rolled by 10 degrees, in another light. So the true match of every point is known. The lines are
coloured by their true error.
"""

import numpy as np
from jaxtyping import UInt8
from matplotlib import cbook
from PIL import Image

from astr_jax import api
from astr_jax.cli.files import PICTURES, check_output, save_figure
from astr_jax.cli.match import add_weights, compiling, match_pair
from astr_jax.cli.served_page import serve_page
from astr_jax.data.demo import DemoPair, covisible, demo_pair, errors
from astr_jax.data.town import paint_town
from astr_jax.images import to_rgb
from astr_jax.matching import Matcher, MatchOptions
from astr_jax.ops.grids import COARSE_STRIDE
from astr_jax.types import Matches
from astr_jax.viz import draw_matches

PORT = 8000


def add_arguments(parser) -> None:
    """The options of astr demo."""
    add_weights(parser)
    parser.add_argument(
        "photo",
        nargs="?",
        default="portrait",
        metavar="PHOTO",
        help="portrait, town, or a file [portrait]",
    )
    parser.add_argument("--out", default="demo.png", metavar="PNG", help="[demo.png]")
    parser.add_argument(
        "--web",
        action="store_true",
        help="serve the page that matches in a browser",
    )
    parser.add_argument("--port", type=int, default=PORT, metavar="N", help=f"of --web [{PORT}]")


def run(options) -> None:
    """Makes the pair, matches it, prints the shares and draws; or serves the page."""
    if options.web:
        serve_page(options.port)
        return
    check_output(options.out, PICTURES)
    photo = read_photo(options.photo)
    if min(photo.shape[:2]) < 64:
        raise ValueError(f"the photograph must be at least 64 x 64; got {photo.shape[1::-1]}.")
    params, pair = api.load(options.weights), demo_pair(photo)
    matcher = Matcher(params, MatchOptions(resize=max(pair.visible0.shape)))
    with compiling():
        _, _, matches = match_pair(matcher, (pair.image0, pair.image1), (None, None), None, None)
    off = errors(pair, matches.keypoints0, matches.keypoints1)
    matched, cells = matched_cells(pair, matches)
    print(f"matches              {len(matches)}")
    for pixels in (1, 3, 5):
        share = f"{(off <= pixels).mean():.1%}" if len(off) else "none"
        print(f"within {pixels} px          {share}")
    print(f"co-visible cells     {matched / max(cells, 1):.1%} matched ({matched} of {cells})")
    save_figure(
        draw_matches(pair.image0, pair.image1, matches, error=off, title="astr demo"), options.out
    )


def read_photo(name: str) -> UInt8[np.ndarray, "h w 3"]:
    """The portrait that matplotlib brings, the painted town, or a file."""
    if name == "town":
        return paint_town()
    if name != "portrait":
        return to_rgb(name, "PHOTO")
    try:
        with cbook.get_sample_data("grace_hopper.jpg") as file, Image.open(file) as image:
            return to_rgb(image)
    except FileNotFoundError:
        raise FileNotFoundError(
            "this matplotlib came without its sample photograph; pass a photograph of your own, "
            "or town."
        ) from None


def matched_cells(pair: DemoPair, matches: Matches) -> tuple[int, int]:
    """Of the coarse cells whose centres both images show: how many have a match, how many are."""
    height, width = pair.image0.shape[:2]
    y, x = np.mgrid[:height:COARSE_STRIDE, :width:COARSE_STRIDE]
    centres = np.stack([x.ravel(), y.ravel()], axis=-1)
    shared = {tuple(p) for p in centres[covisible(pair, centres)]}
    found = {tuple(p) for p in np.round(matches.keypoints0).astype(int)}
    return len(shared & found), len(shared)
