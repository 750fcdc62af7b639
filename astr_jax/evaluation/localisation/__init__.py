"""Matches for hloc's visual localisation."""
