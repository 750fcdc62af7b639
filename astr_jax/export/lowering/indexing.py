"""Primitives that read and write at places that are computed."""

import math

import numpy as np
from jax.lax import GatherScatterMode

from astr_jax.export.lowering.elementwise import like, plain
from astr_jax.export.lowering.graph import Graph, Value, constant
from astr_jax.export.lowering.shapes import joined, sliced, transposed


def _linear(graph: Graph, places: Value, sizes) -> tuple[Value, Value | None]:
    """One index for many: places [... n] of axes of the given sizes, row by row; and where all lie
    within the axes, None if that is sure."""
    total, inside = None, None
    for axis, size in enumerate(sizes):
        part = _column(graph, places, axis)
        total = part if total is None else _sum(graph, _times(graph, total, size), part)
        if part.constant is None:
            least = plain(graph, "ge", part, like(part, 0))
            most = plain(graph, "lt", part, like(part, size))
            both = plain(graph, "and", least, most)
            inside = both if inside is None else plain(graph, "and", inside, both)
        elif part.constant.size and not 0 <= part.constant.min() <= part.constant.max() < size:
            raise NotImplementedError("an index beyond its axis")
    return total, inside


def _column(graph: Graph, places: Value, axis: int) -> Value:
    """places[..., axis]."""
    shape = places.shape[:-1]
    if places.constant is not None:
        array = np.broadcast_to(places.constant.reshape(places.stored), places.shape)
        return constant(array[..., axis])
    if places.shape[-1] == 1:
        return graph.reshaped(graph.whole(places), shape)
    given = [graph.whole(places), constant(np.array(axis, np.int64))]
    return graph.node("Gather", given, shape, places.dtype, axis=len(shape))


def _sum(graph, a, b):
    return plain(graph, "add", a, b)


def _times(graph, a, size):
    return plain(graph, "mul", a, like(a, size))


def _gather(graph, params, x, places):
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    paired = tuple(numbers.operand_batching_dims)
    indexed = tuple(numbers.start_index_map)
    if {*numbers.collapsed_slice_dims} != {*indexed}:
        raise NotImplementedError("gather of more than single cells along an axis")
    kept = [a for a in range(len(x.shape)) if a not in (*paired, *indexed)]
    if any(sizes[a] != x.shape[a] for a in kept):
        raise NotImplementedError("gather of a part of an axis")
    index, inside = _linear(graph, places, [x.shape[a] for a in indexed])
    if paired:  # one more digit in front: which of the pairs
        if tuple(numbers.start_indices_batching_dims) != tuple(range(len(paired))):
            raise NotImplementedError("gather whose pairs do not come first")
        each = math.prod(x.shape[a] for a in indexed)
        count = [x.shape[a] for a in paired]
        line = np.arange(math.prod(count), dtype=np.int32) * each
        line = line.reshape(*count, *(1,) * (len(index.shape) - len(count)))
        index = _sum(graph, index, constant(line).repeated(index.shape))
    x = transposed(graph, graph.whole(x), (*paired, *indexed, *kept))
    rest = [n for a, n in enumerate(x.shape) if a >= len(paired) + len(indexed)]
    x = graph.reshaped(x, (math.prod(x.shape[: len(paired) + len(indexed)]), *rest))
    index = graph.whole(index)
    safe = params["mode"] == GatherScatterMode.PROMISE_IN_BOUNDS or inside is None
    if not safe:
        most = like(index, x.shape[0] - 1)
        index = plain(graph, "min", plain(graph, "max", index, like(index, 0)), most)
    found = graph.node("Gather", [x, index], (*index.shape, *rest), x.dtype, axis=0)
    if not safe and params["mode"] != GatherScatterMode.CLIP:
        shape = (*inside.stored, *(1,) * len(rest))
        inside = graph.reshaped(inside, shape, found.shape)
        fill = like(found, params["fill_value"])
        found = graph.node("Where", [inside, found, fill], found.shape, found.dtype)
    batch = len(index.shape)
    offset = list(numbers.offset_dims)
    order, batches, windows = [], iter(range(batch)), iter(range(batch, len(found.shape)))
    for axis in range(len(found.shape)):
        order.append(next(windows) if axis in offset else next(batches))
    return transposed(graph, found, order)


def _scatter(reduction: str):
    def rule(graph, params, x, places, updates):
        numbers = params["dimension_numbers"]
        axes = tuple(range(len(x.shape)))
        if not numbers.update_window_dims and numbers.scatter_dims_to_operand_dims == axes:
            return _scatter_numbers(graph, x, places, updates, reduction)
        if reduction in ("add", "none") and places.constant is not None and places.shape == (1,):
            return _put_slice(graph, params, x, places, updates, reduction == "add")
        raise NotImplementedError("scatter of slices")

    return rule


def _scatter_numbers(graph: Graph, x: Value, places, updates, reduction: str) -> Value:
    """Single numbers; those that lie beyond an axis go into one more place, which is cut off."""
    if x.dtype == bool:
        given = (graph.cast(value, np.int32) for value in (x, updates))
        found = _scatter_numbers(graph, *(next(given), places, next(given)), reduction)
        return graph.cast(found, bool)
    n = math.prod(x.shape)
    index, inside = _linear(graph, places, x.shape)
    if inside is not None:
        beyond = like(index, n)
        index = graph.node("Where", [inside, index, beyond], index.shape, index.dtype)
    line = graph.reshaped(graph.whole(x), (n,))
    longer = joined(graph, [line, constant(np.zeros(1, x.dtype))], 0)
    index = graph.reshaped(graph.whole(index), (math.prod(index.shape),))
    updates = graph.reshaped(graph.whole(updates), index.shape)
    given = [longer, index, updates]
    found = graph.node("ScatterElements", given, (n + 1,), x.dtype, axis=0, reduction=reduction)
    ends = (constant(np.array([e], np.int64)) for e in (0, n, 0))
    found = graph.node("Slice", [found, *ends], (n,), x.dtype)
    return graph.reshaped(found, x.shape)


def _put_slice(graph: Graph, params, x: Value, places: Value, updates: Value, add: bool) -> Value:
    """A slice at a known place of one axis, put there or added."""
    (axis,) = params["dimension_numbers"].inserted_window_dims
    at = int(places.constant.reshape(-1)[0])

    def part(first, last):
        ends = [(first, last) if a == axis else (0, n) for a, n in enumerate(x.shape)]
        return sliced(graph, x, *zip(*ends, strict=True), (1,) * len(ends))

    def grown(s):
        return (*s[:axis], 1, *s[axis:])

    updates = graph.reshaped(updates, grown(updates.stored), grown(updates.shape))
    if add:
        updates = plain(graph, "add", part(at, at + 1), updates)
    parts = part(0, at), updates, part(at + 1, x.shape[axis])
    return joined(graph, [p for p in parts if p.shape[axis]], axis)


def _start(graph: Graph, start: Value, most: int) -> Value:
    """[1]; JAX moves a slice that would reach beyond the end back inside."""
    start = graph.reshaped(start, (1,))
    start = plain(graph, "max", start, constant(np.zeros(1, start.dtype)))
    return plain(graph, "min", start, constant(np.full(1, most, start.dtype)))


def _dynamic_slice(graph, params, x, *starts):
    sizes = params["slice_sizes"]
    x = graph.whole(x)
    cut = [a for a, size in enumerate(sizes) if size != x.shape[a]]
    if not cut:
        return x
    first = joined(graph, [_start(graph, starts[a], x.shape[a] - sizes[a]) for a in cut], 0)
    last = plain(graph, "add", first, constant(np.array([sizes[a] for a in cut], first.dtype)))
    return graph.node(
        "Slice", [x, first, last, constant(np.array(cut, first.dtype))], sizes, x.dtype
    )


def _dynamic_update_slice(graph, params, x, update, *starts):
    x, update = graph.whole(x), graph.whole(update)
    cut = [a for a, size in enumerate(update.shape) if size != x.shape[a]]
    if not cut:
        return update
    if cut != [0]:
        raise NotImplementedError("dynamic_update_slice along any but the first axis")
    size = update.shape[0]
    first = _start(graph, starts[0], x.shape[0] - size)
    zero, end, axis = (constant(np.array([n], first.dtype)) for n in (0, x.shape[0], 0))
    last = plain(graph, "add", first, constant(np.array([size], first.dtype)))
    before = graph.node("Slice", [x, zero, first, axis], x.shape, x.dtype)
    after = graph.node("Slice", [x, last, end, axis], x.shape, x.dtype)
    return graph.node("Concat", [before, update, after], x.shape, x.dtype, axis=0)


RULES = {
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "gather": _gather,
    "scatter": _scatter("none"),
    "scatter-add": _scatter("add"),
    "scatter-max": _scatter("max"),
    "scatter-min": _scatter("min"),
}
