"""Matrix products and convolutions."""

import math

from astr_jax.export.lowering.shapes import transposed


def _dot_general(graph, params, x, y):
    """[pairs ..., free of x ..., free of y ...]: as one MatMul."""
    (sum_x, sum_y), (pair_x, pair_y) = params["dimension_numbers"]
    x, y = graph.whole(x), graph.whole(y)
    free_x, free_y = (
        [a for a in range(len(v.shape)) if a not in (*summed, *paired)]
        for v, summed, paired in ((x, sum_x, pair_x), (y, sum_y, pair_y))
    )
    pairs = [x.shape[a] for a in pair_x]
    rows, columns = ([v.shape[a] for a in f] for v, f in ((x, free_x), (y, free_y)))
    between = math.prod(x.shape[a] for a in sum_x)
    x = transposed(graph, x, (*pair_x, *free_x, *sum_x))
    y = transposed(graph, y, (*pair_y, *sum_y, *free_y))
    flat_rows = rows if not pairs and rows else [math.prod(rows)]
    x = graph.reshaped(x, [*pairs, *flat_rows, between])
    y = graph.reshaped(y, [*pairs, between, math.prod(columns)])
    found = graph.node("MatMul", [x, y], [*pairs, *flat_rows, math.prod(columns)], x.dtype)
    return graph.reshaped(found, [*pairs, *rows, *columns])


def _convolution(graph, params, x, kernel):
    """Channels last, as the model has them; ONNX wants them first."""
    numbers = params["dimension_numbers"]
    strides, pads = params["window_strides"], params["padding"]
    if {*params["lhs_dilation"]} != {1} or params["batch_group_count"] != 1:
        raise NotImplementedError("convolution with holes in its input")
    x = transposed(graph, graph.whole(x), numbers.lhs_spec)
    kernel = transposed(graph, kernel, numbers.rhs_spec)
    size = kernel.shape[2:]
    sides = [
        (n + low + high - k) // step + 1
        for n, (low, high), k, step in zip(x.shape[2:], pads, size, strides, strict=True)
    ]
    found = graph.node(
        "Conv",
        [x, kernel],
        (x.shape[0], kernel.shape[0], *sides),
        x.dtype,
        strides=strides,
        pads=[low for low, _ in pads] + [high for _, high in pads],
        kernel_shape=size,
        dilations=params["rhs_dilation"],
        group=params["feature_group_count"],
    )
    spec = numbers.out_spec
    return transposed(graph, found, [spec.index(a) for a in range(len(spec))])


RULES = {"dot_general": _dot_general, "conv_general_dilated": _convolution}
