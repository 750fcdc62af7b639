"""Write tracks as a COLMAP database, and verify its pairs.

examples:
  astr database photos --out model
  astr database photos --out model --camera single --camera-model PINHOLE
  colmap mapper --database_path model/database.db --image_path photos --output_path model/other

Takes DIR/tracks.safetensors, writes DIR/database.db: cameras by EXIF, keypoints, matches and
verified two-view geometries. COLMAP and pycolmap go on from it; so does astr reconstruct.
"""

from astr_jax.cli import reconstruction
from astr_jax.reconstruction.photos import check_colmap_reads, find_photos


def add_arguments(parser) -> None:
    """The options of astr database."""
    reconstruction.add_place(parser)
    reconstruction.add_cameras(parser)


def run(options) -> None:
    """Writes the database."""
    reconstruction.check_packages()
    photos, place = find_photos(options.photos), reconstruction.workspace_of(options)
    check_colmap_reads(photos)
    reconstruction.run_database(options, photos, place)
    print(f"wrote {place.database}")
