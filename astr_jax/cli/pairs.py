"""List the pairs of photographs that a reconstruction matches.

examples:
  astr pairs photos --out model                              each with each, beyond 60 with 20
  astr pairs frames --out model --pairs sequential --window 5 --loop-every 20
  astr pairs photos --out model --pairs similar --most 30    those that look alike
  astr pairs photos --out model --pairs position --within 50  those taken near, by GPS
  astr pairs photos --out model --model old/sparse/0         those that share points of a model

Writes DIR/pairs.txt, two names a line with a tab between them. It may be edited. The next stage is
astr match-pairs.
"""

from astr_jax.cli import photo_pairs, reconstruction
from astr_jax.cli.match import add_weights
from astr_jax.reconstruction.photos import find_photos


def add_arguments(parser) -> None:
    """The options of astr pairs."""
    reconstruction.add_place(parser)
    photo_pairs.add_pairs(parser)
    add_weights(parser)


def run(options) -> None:
    """Writes the list."""
    photos, place = find_photos(options.photos), reconstruction.workspace_of(options)
    pairs = photo_pairs.list_pairs(options, photos, place)
    print(f"wrote {place.pairs}: {len(pairs)} pairs of {len(photos)} photographs")
