"""Matching out of this package: ONNX graphs, and StableHLO that JAX alone can run."""
