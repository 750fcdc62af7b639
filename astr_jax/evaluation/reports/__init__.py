"""Runs over benchmarks, and what is made of their records: scores, tables, pages, comparisons."""
