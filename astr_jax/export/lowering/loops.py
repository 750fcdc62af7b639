"""Loops and branches: a scan becomes Scan or Loop, a while Loop, a cond If.

Each rule gets `lower` (graph, ClosedJaxpr, values) -> values. Bodies read what lies outside of them
by name, as ONNX allows; what they carry is whole.
"""

import numpy as np

from astr_jax.export.lowering.elementwise import plain
from astr_jax.export.lowering.graph import Graph, Value, body, constant


def _inside(graph: Graph, values) -> list[Value]:
    """Values that a body may read by name."""
    return [
        x if not isinstance(x, Value) or x.constant is not None else graph.whole(x) for x in values
    ]


def _carried(inner: Graph, values, stem: str) -> list[Value]:
    return [inner.input(inner.new_name(stem), x.shape, x.dtype) for x in values]


def _named(names, values) -> list[Value]:
    return [Value(x.shape, x.shape, x.dtype, n) for n, x in zip(names, values, strict=True)]


def _stacked(names, values, length: int) -> list[Value]:
    return [
        Value((length, *x.shape), (length, *x.shape), x.dtype, n)
        for n, x in zip(names, values, strict=True)
    ]


def _scan(graph, lower, params, *values):
    if params["reverse"]:
        raise NotImplementedError("a scan from the end")
    first, carries, length = params["num_consts"], params["num_carry"], params["length"]
    fixed = _inside(graph, values[:first])
    state = [graph.whole(x) for x in values[first : first + carries]]
    rows = [graph.whole(x) for x in values[first + carries :]]
    inner = Graph(graph)
    if not rows:
        inner.input(inner.new_name("round"), (), np.int64)
        going = inner.input(inner.new_name("going"), (), bool)
    carried = _carried(inner, state, "state")
    parts = [inner.input(inner.new_name("row"), x.shape[1:], x.dtype) for x in rows]
    results = lower(inner, params["jaxpr"], [*fixed, *carried, *parts])
    count = len(results)
    if rows:
        names = graph.nodes_named(
            "Scan",
            [*state, *rows],
            count,
            body=body(inner, graph.new_name("scan"), results),
            num_scan_inputs=len(rows),
        )
    else:
        names = graph.nodes_named(
            "Loop",
            [constant(np.array(length, np.int64)), "", *state],
            count,
            body=body(inner, graph.new_name("loop"), [going, *results]),
        )
    return _named(names[:carries], results[:carries]) + _stacked(
        names[carries:], results[carries:], length
    )


def _while(graph, lower, params, *values):
    of_cond, of_body = params["cond_nconsts"], params["body_nconsts"]
    cond_fixed = _inside(graph, values[:of_cond])
    body_fixed = _inside(graph, values[of_cond : of_cond + of_body])
    state = [graph.whole(x) for x in values[of_cond + of_body :]]
    (start,) = lower(graph, params["cond_jaxpr"], [*cond_fixed, *state])
    inner = Graph(graph)
    inner.input(inner.new_name("round"), (), np.int64)
    inner.input(inner.new_name("going"), (), bool)
    carried = _carried(inner, state, "state")
    results = [inner.whole(x) for x in lower(inner, params["body_jaxpr"], [*body_fixed, *carried])]
    (going,) = lower(inner, params["cond_jaxpr"], [*cond_fixed, *results])
    names = graph.nodes_named(
        "Loop",
        ["", start, *state],
        len(results),
        body=body(inner, graph.new_name("while"), [going, *results]),
    )
    return _named(names, results)


def _cond(graph, lower, params, which, *values):
    if len(params["branches"]) != 2:
        raise NotImplementedError("a choice of more than two branches")
    values = _inside(graph, values)
    branches = []
    for branch in params["branches"]:
        inner = Graph(graph)
        results = lower(inner, branch, values)
        branches.append(body(inner, graph.new_name("branch"), results))
    yes = plain(graph, "gt", which, constant(np.zeros((), which.dtype)))
    names = graph.nodes_named(
        "If", [yes], len(results), else_branch=branches[0], then_branch=branches[1]
    )
    return _named(names, results)


RULES = {"cond": _cond, "scan": _scan, "while": _while}
