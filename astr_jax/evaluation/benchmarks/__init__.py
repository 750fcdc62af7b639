"""The benchmarks of the papers: each module has `read(...) -> Benchmark`, protocol included.

All pictures are looked for when a benchmark is read, so that an incomplete download is told
before the first match. README.md of the folder above says what to download.
"""
