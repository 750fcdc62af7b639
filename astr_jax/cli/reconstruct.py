"""Make a COLMAP model from a folder of photographs.

examples:
  astr reconstruct photos --out model                     each with each, beyond 60 with 20
  astr reconstruct frames --out model --pairs sequential --loop-every 20        frames of a video
  astr reconstruct photos --out model --pairs pairs.txt --camera single         a list; one camera
  astr reconstruct photos --out model --mapper global     GLOMAP's mapper instead of COLMAP's

Matches pairs of photographs, joins the matches to tracks, writes and verifies COLMAP's database,
and maps by pycolmap. DIR/sparse/0 is the model, in COLMAP's binary format; DIR/report.html shows it
and names the photographs that are missing. Stopped or killed, the same command goes on. Each stage
is a command of its own, for the same DIR: astr pairs, match-pairs, tracks, database.
"""

from astr_jax.cli import photo_pairs, reconstruction
from astr_jax.cli.reconstruction import GOES_ON
from astr_jax.reconstruction.photos import check_colmap_reads, find_photos

__all__ = ["GOES_ON", "add_arguments", "run"]


def add_arguments(parser) -> None:
    """The options of astr reconstruct."""
    reconstruction.add_place(parser)
    photo_pairs.add_pairs(parser)
    reconstruction.add_matching(parser)
    reconstruction.add_dropping(parser)
    reconstruction.add_engine(parser)
    reconstruction.add_tracks(parser)
    reconstruction.add_cameras(parser)
    reconstruction.add_mapping(parser)


def run(options) -> None:
    """All stages that are not done yet, and the report."""
    reconstruction.check_packages()
    photos, place = find_photos(options.photos), reconstruction.workspace_of(options)
    check_colmap_reads(photos)
    pairs = photo_pairs.list_pairs(options, photos, place)
    reconstruction.run_matching(options, photos, pairs, place)
    reconstruction.run_tracks(options, photos, pairs, place)
    stamp = reconstruction.run_database(options, photos, place)
    reconstruction.run_mapping(options, photos, place, stamp)
    print(reconstruction.run_report(photos, place))
    print(f"wrote {place.sparse} and {place.report}")
