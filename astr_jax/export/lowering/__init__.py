"""From a traced JAX program to an ONNX graph, primitive by primitive."""
