"""Match a pair with known geometry, and say how many matches are right.

examples:
  astr demo                              a painted town, seen twice; writes demo.png
  astr demo --image photo.jpg            your own photograph instead
  astr demo --weights run/weights.safetensors --out run/demo.png

Two virtual cameras look at one flat picture: 35 degrees between them, one 1.3 times as close and
rolled by 10 degrees, in another light. So the true match of every point is known. The lines are
coloured by their true error.
"""

import numpy as np

from astr_jax import api
from astr_jax.cli.files import PICTURES, check_output, save_figure
from astr_jax.cli.match import add_weights, match_pair
from astr_jax.data.demo import DemoPair, covisible, demo_pair, errors
from astr_jax.data.town import paint_town
from astr_jax.images import read_image
from astr_jax.ops.grids import COARSE_STRIDE
from astr_jax.types import Matches
from astr_jax.viz import draw_matches


def add_arguments(parser) -> None:
    """The options of astr demo."""
    add_weights(parser)
    parser.add_argument("--image", metavar="PATH", help="a photograph, instead of the town")
    parser.add_argument("--out", default="demo.png", metavar="PNG", help="[demo.png]")


def run(options) -> None:
    """Makes the pair, matches it, prints the shares and draws."""
    check_output(options.out, PICTURES)
    photo = np.asarray(read_image(options.image).convert("RGB")) if options.image else paint_town()
    if min(photo.shape[:2]) < 64:
        raise ValueError(f"the photograph must be at least 64 x 64; got {photo.shape[1::-1]}.")
    params, pair = api.load(options.weights), demo_pair(photo)
    matcher = api.Matcher(params, None, None, max(pair.visible0.shape), None)
    _, _, matches = match_pair(matcher, pair.image0, pair.image1, None, None)
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


def matched_cells(pair: DemoPair, matches: Matches) -> tuple[int, int]:
    """Of the coarse cells whose centres both images show: how many have a match, how many are."""
    height, width = pair.image0.shape[:2]
    y, x = np.mgrid[:height:COARSE_STRIDE, :width:COARSE_STRIDE]
    centres = np.stack([x.ravel(), y.ravel()], axis=-1)
    shared = {tuple(p) for p in centres[covisible(pair, centres)]}
    found = {tuple(p) for p in np.round(matches.keypoints0).astype(int)}
    return len(shared & found), len(shared)
