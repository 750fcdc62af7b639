"""Errors and scores of matches: robust estimators, metrics, calibration."""
