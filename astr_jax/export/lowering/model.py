"""A JAX function as an ONNX model."""

from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
import onnx
from jax.extend import core
from jaxtyping import PyTree
from onnx import helper

from astr_jax.export.lowering import elementwise, indexing, loops, products, shapes
from astr_jax.export.lowering.graph import (
    Graph,
    Missing,
    Value,
    constant,
    names_read,
    tensor,
    used,
    value_info,
)

OPSET = 18  # of ONNX 1.13
IR_VERSION = 8
RULES = elementwise.RULES | shapes.RULES | products.RULES | indexing.RULES
CALLS = ("jaxpr", "call_jaxpr", "call", "fun_jaxpr")  # where a primitive keeps what it calls


def to_onnx(
    function: Callable[..., Mapping[str, jax.Array]],
    weights: PyTree,
    inputs: Mapping[str, jax.ShapeDtypeStruct],
    *,
    half: bool = False,
    name: str = "astr",
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """The model that computes function(weights, **inputs), a mapping from names to arrays.

    Shapes are fixed. half: weights but vectors are stored as float16, and made float32 as the model
    is loaded.
    Raises NotImplementedError for a program that has no ONNX here.
    """

    def flat(weights, *given):
        return function(weights, **dict(zip(inputs, given, strict=True)))

    closed, outputs = jax.make_jaxpr(flat, return_shape=True)(weights, *inputs.values())
    graph = Graph()
    paths = jax.tree_util.tree_flatten_with_path(weights)[0]
    values = [
        constant(np.asarray(x), label=jax.tree_util.keystr(path, simple=True, separator="/"))
        if np.ndim(x) > 1
        else constant(np.asarray(x))
        for path, x in paths
    ]
    values += [graph.input(key, x.shape, x.dtype) for key, x in inputs.items()]
    results = [_checked(x) for x in lower(graph, closed, values)]
    made = dict(zip(_names(outputs), results, strict=True))
    infos = [value_info(graph.output(x, key), x.shape, x.dtype) for key, x in made.items()]
    return _model(graph, infos, half, name, metadata or {})


def _names(outputs) -> list[str]:
    """The names of a mapping's arrays, in the order in which JAX takes them."""
    return [path[0].key for path, _ in jax.tree_util.tree_flatten_with_path(outputs)[0]]


def lower(graph: Graph, closed, values: Sequence[Value | Missing]) -> list[Value | Missing]:
    """Writes a traced program into a graph; values: its arguments."""
    jaxpr, constants = getattr(closed, "jaxpr", closed), getattr(closed, "consts", ())
    held = dict(zip(jaxpr.constvars, map(constant, constants), strict=True))
    held |= dict(zip(jaxpr.invars, values, strict=True))

    for equation in jaxpr.eqns:
        found = _apply(graph, equation, [_read(held, var) for var in equation.invars])
        held |= dict(zip(equation.outvars, found, strict=True))
    return [_read(held, var) for var in jaxpr.outvars]


def _read(held, var) -> Value | Missing:
    literal = isinstance(var, core.Literal)
    return constant(np.asarray(var.val, var.aval.dtype)) if literal else held[var]


def _lower_body(graph: Graph, closed, values: Sequence[Value | Missing]) -> list[Value]:
    """The same for the body of a loop, of which everything is used."""
    return [_checked(x) for x in lower(graph, closed, values)]


def _apply(graph: Graph, equation, values) -> list:
    name, params = equation.primitive.name, equation.params
    if name in loops.RULES:
        return loops.RULES[name](graph, _lower_body, params, *values)
    if name in RULES:
        missing = [x for x in values if isinstance(x, Missing)]
        if missing:
            return missing[:1] * len(equation.outvars)
        found = RULES[name](graph, params, *values)
        return found if isinstance(found, list) else [found]
    for key in CALLS:
        if key in params:
            return lower(graph, params[key], values)
    return [Missing(name)] * len(equation.outvars)  # an error only for those who use it


def _checked(value):
    if isinstance(value, Missing):
        raise NotImplementedError(f"the primitive {value.primitive!r} has no ONNX here")
    return value


def _model(graph: Graph, outputs, half: bool, name: str, metadata) -> onnx.ModelProto:
    nodes = used(graph.nodes, {x.name for x in outputs})
    read = names_read(nodes)
    tensors, casts = [], []
    for key, value in graph.constants.items():
        if key not in read:
            continue
        small = half and bool(value.label)
        tensors.append(tensor(f"{key}/half" if small else key, value, half=small))
        if small:
            to = onnx.TensorProto.FLOAT
            casts.append(helper.make_node("Cast", [f"{key}/half"], [key], name=key, to=to))
    whole = helper.make_graph([*casts, *nodes], name, graph.inputs, outputs, tensors)
    model = helper.make_model(
        whole, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    model.producer_name = "astr_jax"
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    return model
