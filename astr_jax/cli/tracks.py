"""Join the matches of many pairs to tracks: points of the scene in many photographs.

examples:
  astr tracks photos --out model
  astr tracks photos --out model --polish-size 640      quicker, where photographs are not sharp

Takes DIR/pairs.txt and DIR/matches, writes DIR/tracks.safetensors. The next stage is astr database.
"""

from astr_jax.cli import photo_pairs, reconstruction
from astr_jax.reconstruction.photos import find_photos


def add_arguments(parser) -> None:
    """The options of astr tracks."""
    reconstruction.add_place(parser)
    reconstruction.add_tracks(parser)


def run(options) -> None:
    """Makes the tracks."""
    photos, place = find_photos(options.photos), reconstruction.workspace_of(options)
    pairs = photo_pairs.listed_pairs(photos, place)
    tracks, _ = reconstruction.run_tracks(options, photos, pairs, place)
    print(f"wrote {place.tracks}: {tracks.count} tracks, {tracks.mean_length:.2f} images each")
