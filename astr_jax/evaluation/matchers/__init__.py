"""Matchers by name, to be evaluated beside one another."""
