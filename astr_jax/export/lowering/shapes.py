"""Primitives that move numbers, or take many to one."""

import math

import numpy as np

from astr_jax.export.lowering.graph import Graph, Value, constant


def _broadcast(graph, params, x, *dynamic):
    shape, places = params["shape"], params["broadcast_dimensions"]
    stored = [1] * len(shape)
    for place, length in zip(places, x.stored, strict=True):
        stored[place] = length
    return graph.reshaped(x, stored, shape)


def _reshape(graph, params, x):
    shape = params["new_sizes"]
    if math.prod(x.stored) == 1:
        return graph.reshaped(x, (1,) * len(shape), shape)
    return graph.reshaped(graph.whole(x), shape)


def _squeeze(graph, params, x):
    gone = {axis % len(x.shape) for axis in params["dimensions"]}
    kept = [axis for axis in range(len(x.shape)) if axis not in gone]
    return graph.reshaped(x, [x.stored[a] for a in kept], [x.shape[a] for a in kept])


def transposed(graph: Graph, x: Value, order) -> Value:
    """The axes in another order."""
    order = tuple(order)
    if order == tuple(range(len(order))):
        return x
    stored, shape = ([s[a] for a in order] for s in (x.stored, x.shape))
    if x.constant is not None:
        array = x.constant.reshape(x.stored).transpose(order)
        return Value(tuple(stored), tuple(shape), x.dtype, constant=array, label=x.label)
    long = [a for a in order if x.stored[a] > 1]
    if long == sorted(long):
        return graph.reshaped(x, stored, shape)
    return graph.node("Transpose", [x], stored, x.dtype, shape=shape, perm=order)


def sliced(graph: Graph, x: Value, starts, ends, steps) -> Value:
    """x[starts:ends:steps], axis by axis."""
    cuts = [
        slice(0, 1) if stored == 1 else slice(*cut)
        for stored, cut in zip(x.stored, zip(starts, ends, steps, strict=True), strict=True)
    ]
    shape = [len(range(*cut)) for cut in zip(starts, ends, steps, strict=True)]
    stored = [len(range(c.start, c.stop, c.step or 1)) for c in cuts]
    if x.constant is not None:
        array = x.constant.reshape(x.stored)[tuple(cuts)]
        return Value(tuple(stored), tuple(shape), x.dtype, constant=array)
    cut = [a for a, length in enumerate(stored) if length != x.stored[a]]
    if not cut:
        return x.repeated(shape)
    numbers = ([cuts[a].start for a in cut], [cuts[a].stop for a in cut], cut)
    given = [constant(np.array(n, np.int64)) for n in numbers]
    if any((cuts[a].step or 1) != 1 for a in cut):
        given.append(constant(np.array([cuts[a].step or 1 for a in cut], np.int64)))
    return graph.node("Slice", [x, *given], stored, x.dtype, shape=shape)


def _slice(graph, params, x):
    steps = params["strides"] or (1,) * len(x.shape)
    return sliced(graph, x, params["start_indices"], params["limit_indices"], steps)


def padded(graph: Graph, x: Value, low, high, fill: Value) -> Value:
    """Grown by so many numbers before and behind, axis by axis."""
    if not any((*low, *high)):
        return x
    if any(n < 0 for n in (*low, *high)):
        raise NotImplementedError("pad that cuts")
    x = graph.whole(x)
    shape = [a + n + b for a, n, b in zip(low, x.shape, high, strict=True)]
    pads = constant(np.array([*low, *high], np.int64))
    return graph.node("Pad", [x, pads, fill], shape, x.dtype)


def _pad(graph, params, x, fill):
    low, high, inside = zip(*params["padding_config"], strict=True)
    if any(inside):
        raise NotImplementedError("pad between numbers")
    return padded(graph, x, low, high, graph.reshaped(fill, ()))


def joined(graph: Graph, values, axis: int) -> Value:
    """Side by side along an axis."""
    values = [graph.whole(x) for x in values]
    if len(values) == 1:
        return values[0]
    shape = list(values[0].shape)
    shape[axis] = sum(x.shape[axis] for x in values)
    if all(x.constant is not None for x in values):
        return constant(np.concatenate([x.constant for x in values], axis))
    return graph.node("Concat", values, shape, values[0].dtype, axis=axis)


def _stack(graph, params, *values):
    axis = params["axis"]

    def grown(s):
        return (*s[:axis], 1, *s[axis:])

    return joined(graph, [graph.reshaped(x, grown(x.stored), grown(x.shape)) for x in values], axis)


def _iota(graph, params):
    shape, axis = params["shape"], params["dimension"]
    stored = [1] * len(shape)
    stored[axis] = shape[axis]
    line = np.arange(shape[axis], dtype=params["dtype"]).reshape(stored)
    return constant(line).repeated(shape)


def _reduced(op: str):
    def rule(graph, params, x):
        truth = x.dtype == bool
        axes = tuple(params["axes"])
        x = graph.whole(graph.cast(x, np.int32) if truth else x)
        kept = [n for a, n in enumerate(x.shape) if a not in axes]
        which = constant(np.array(axes, np.int64))
        found = graph.node(op, [x, which], kept, x.dtype, keepdims=0)
        return graph.cast(found, bool) if truth else found

    return rule


def _argmax(graph, params, x):
    (axis,) = params["axes"]
    shape = [n for a, n in enumerate(x.shape) if a != axis]
    x = graph.whole(graph.cast(x, np.int32) if x.dtype == bool else x)
    found = graph.node("ArgMax", [x], shape, np.int64, axis=axis, keepdims=0)
    return graph.cast(found, params["index_dtype"])


def _cumsum(graph, params, x):
    axis = constant(np.array(params["axis"], np.int64))
    given = [graph.whole(x), axis]
    return graph.node("CumSum", given, x.shape, x.dtype, reverse=int(params["reverse"]))


def _top_k(graph, params, x):
    axis, k = params.get("axis", len(x.shape) - 1), params["k"]
    shape = tuple(k if a == axis % len(x.shape) else n for a, n in enumerate(x.shape))
    given = [graph.whole(x), constant(np.array([k], np.int64))]
    names = graph.nodes_named("TopK", given, 2, axis=axis, largest=1, sorted=1)
    top, place = (
        Value(shape, shape, np.dtype(dtype), name)
        for name, dtype in zip(names, (x.dtype, np.int64), strict=True)
    )
    return [top, graph.cast(place, np.int32)]


RULES = {
    "argmax": _argmax,
    "broadcast_in_dim": _broadcast,
    "concatenate": lambda g, p, *x: joined(g, x, p["dimension"]),
    "cumsum": _cumsum,
    "iota": _iota,
    "pad": _pad,
    "reduce_and": _reduced("ReduceMin"),
    "reduce_max": _reduced("ReduceMax"),
    "reduce_min": _reduced("ReduceMin"),
    "reduce_or": _reduced("ReduceMax"),
    "reduce_sum": _reduced("ReduceSum"),
    "reshape": _reshape,
    "slice": _slice,
    "squeeze": _squeeze,
    "stack": _stack,
    "top_k": _top_k,
    "transpose": lambda g, p, x: transposed(g, x, p["permutation"]),
}
