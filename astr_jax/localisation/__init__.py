"""Where photographs were taken: their poses in a COLMAP model."""
