"""Primitives that work number by number. Constants are computed here and now."""

import math

import numpy as np

from astr_jax.export.lowering.graph import Graph, Value, constant


def _quotient(a, b):
    return np.trunc(a / b).astype(a.dtype) if a.dtype.kind == "i" else a / b


PLAIN = {  # primitive -> operator of ONNX, and the same in NumPy
    "abs": ("Abs", np.abs),
    "add": ("Add", np.add),
    "and": ("And", np.logical_and),
    "ceil": ("Ceil", np.ceil),
    "cos": ("Cos", np.cos),
    "div": ("Div", _quotient),
    "eq": ("Equal", np.equal),
    "exp": ("Exp", np.exp),
    "floor": ("Floor", np.floor),
    "ge": ("GreaterOrEqual", np.greater_equal),
    "gt": ("Greater", np.greater),
    "le": ("LessOrEqual", np.less_equal),
    "log": ("Log", np.log),
    "lt": ("Less", np.less),
    "max": ("Max", np.maximum),
    "min": ("Min", np.minimum),
    "mul": ("Mul", np.multiply),
    "neg": ("Neg", np.negative),
    "not": ("Not", np.logical_not),
    "or": ("Or", np.logical_or),
    "pow": ("Pow", np.power),
    "rem": ("Mod", np.fmod),
    "round": ("Round", np.round),  # halves to even numbers, as both do
    "sign": ("Sign", np.sign),
    "sin": ("Sin", np.sin),
    "sqrt": ("Sqrt", np.sqrt),
    "sub": ("Sub", np.subtract),
}
LARGEST = float(np.finfo(np.float32).max)


def plain(graph: Graph, name: str, *values: Value, **attributes) -> Value:
    """A primitive of PLAIN."""
    op, in_numpy = PLAIN[name]
    shape = np.broadcast_shapes(*(x.shape for x in values))
    stored = np.broadcast_shapes(*(x.stored for x in values))
    compares = name in ("eq", "ge", "gt", "le", "lt")
    dtype = np.dtype(bool) if compares else values[0].dtype
    if all(x.constant is not None for x in values):
        with np.errstate(all="ignore"):
            array = in_numpy(*(x.constant.reshape(x.stored) for x in values))
        return Value(stored, shape, dtype, constant=np.asarray(array, dtype))
    return graph.node(op, values, stored, dtype, shape=shape, **attributes)


def _integer_pow(graph, params, x):
    y = params["y"]
    power = x
    for _ in range(abs(y) - 1):
        power = plain(graph, "mul", power, x)
    return power if y > 0 else plain(graph, "div", like(x, 1), power)


def like(x: Value, number) -> Value:
    """A constant that broadcasts with x."""
    ones = (1,) * len(x.shape)
    return constant(np.full(ones, number, x.dtype)).repeated(x.shape)


def _select(graph, params, which, *cases):
    if which.dtype != bool or len(cases) != 2:
        raise NotImplementedError("select_n of anything but True and False")
    no, yes = cases
    stored = np.broadcast_shapes(which.stored, no.stored, yes.stored)
    if all(x.constant is not None for x in (which, no, yes)):
        array = np.where(*(x.constant.reshape(x.stored) for x in (which, yes, no)))
        return Value(stored, no.shape, no.dtype, constant=array.astype(no.dtype))
    if _hides(which, no, yes):
        return plain(graph, "mul", yes, graph.cast(which, yes.dtype))
    if no.dtype == bool:  # which not every runtime's Where takes
        chosen = plain(graph, "and", which, yes)
        other = plain(graph, "and", plain(graph, "not", which), no)
        return plain(graph, "or", chosen, other)
    return graph.node("Where", [which, yes, no], stored, no.dtype, shape=no.shape)


def _hides(which, no, yes) -> bool:
    """Whether a mask of fewer numbers puts zeros: a product is several times quicker than Where."""
    zero = no.constant is not None and no.dtype == np.float32 and not no.constant.any()
    return zero and yes.constant is None and math.prod(which.stored) < math.prod(yes.stored)


def _clamp(graph, params, least, x, most):
    return plain(graph, "min", plain(graph, "max", x, least), most)


COMPOUND = {
    "clamp": _clamp,
    "convert_element_type": lambda g, p, x: g.cast(x, p["new_dtype"]),
    "copy": lambda g, p, x: x,
    "expm1": lambda g, p, x: plain(g, "sub", plain(g, "exp", x), like(x, 1)),
    "integer_pow": _integer_pow,
    "is_finite": lambda g, p, x: plain(g, "le", plain(g, "abs", x), like(x, LARGEST)),
    "ne": lambda g, p, a, b: plain(g, "not", plain(g, "eq", a, b)),
    "rem": lambda g, p, a, b: plain(g, "rem", a, b, fmod=1),
    "rsqrt": lambda g, p, x: plain(g, "div", like(x, 1), plain(g, "sqrt", x)),
    "select_n": _select,
    "square": lambda g, p, x: plain(g, "mul", x, x),
    "stop_gradient": lambda g, p, x: x,
}
RULES = {
    name: lambda graph, params, *values, name=name: plain(graph, name, *values) for name in PLAIN
} | COMPOUND
