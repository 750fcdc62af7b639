"""From a folder of photographs to a COLMAP model."""
