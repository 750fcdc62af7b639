"""astr eval: measure, draw and calibrate matchers."""
