"""Evaluation: matchers in, errors and tables out. Any callable can stand in for the model."""
