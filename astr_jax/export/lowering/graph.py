"""ONNX graphs as they are built: values that may be constants, or stand for repeated ones.

A value keeps axes along which it only repeats as axes of 1 (`stored`), as ONNX broadcasts by
itself; `shape` is what JAX means. So a mask or a bias is never written out at the size of a map.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper


@dataclasses.dataclass(frozen=True)
class Value:
    """A tensor of a graph by its name, or a constant that no node has asked for yet."""

    stored: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    name: str = ""
    constant: np.ndarray | None = None
    label: str = ""  # of a constant: the weight that it is

    def repeated(self, shape: Sequence[int]) -> "Value":
        """The same tensor, meant to be of another shape that it broadcasts to."""
        return dataclasses.replace(self, shape=tuple(shape))


@dataclasses.dataclass(frozen=True)
class Missing:
    """What a primitive without a rule would give: an error for those who use it."""

    primitive: str


def constant(array, label: str = "") -> Value:
    """A constant, whole."""
    array = np.asarray(array)
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    return Value(array.shape, array.shape, array.dtype, constant=array, label=label)


class Graph:
    """A graph under construction, or the body of a loop in one.

    Names are unique in the whole model, constants lie in the outermost graph, and the same node is
    not written twice.
    """

    def __init__(self, outer: "Graph | None" = None):
        self.root = self if outer is None else outer.root
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self._seen: dict[tuple, list[str]] = {}
        if outer is None:
            self._count = 0
            self.constants: dict[str, Value] = {}
            self._constant_names: dict[tuple, str] = {}

    def new_name(self, stem: str) -> str:
        self.root._count += 1
        return f"{stem}_{self.root._count}"

    def input(self, name: str, shape, dtype) -> Value:
        """Declares an input of this graph."""
        self.inputs.append(value_info(name, shape, dtype))
        return Value(tuple(shape), tuple(shape), np.dtype(dtype), name)

    def name_of(self, value: Value) -> str:
        """The name that nodes read it by, as stored; constants are put into the model."""
        if value.constant is None:
            return value.name
        root, array = self.root, np.ascontiguousarray(value.constant).reshape(value.stored)
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in root._constant_names:
            name = value.label or "constant"
            name = root.new_name(name) if name in root.constants or not value.label else name
            root._constant_names[key] = name
            root.constants[name] = dataclasses.replace(value, constant=array, name=name)
        return root._constant_names[key]

    def nodes_named(self, op: str, inputs, count: int = 1, **attributes) -> list[str]:
        """Appends a node; returns the names of its outputs. inputs: values, or names."""
        names = [x if isinstance(x, str) else self.name_of(x) for x in inputs]
        plain = all(not isinstance(a, onnx.GraphProto) for a in attributes.values())
        key = op, tuple(names), str(sorted(attributes.items())) if plain else object()
        if key not in self._seen:
            out = [self.new_name(op) for _ in range(count)]
            self.nodes.append(helper.make_node(op, names, out, name=out[0], **attributes))
            self._seen[key] = out
        return self._seen[key]

    def node(self, op: str, inputs, stored, dtype, *, shape=None, **attributes) -> Value:
        """Appends a node of one output. stored: its shape; shape: what it is meant to be."""
        (name,) = self.nodes_named(op, inputs, **attributes)
        stored = tuple(map(int, stored))  # shapes computed with NumPy have numbers of its own
        shape = stored if shape is None else tuple(map(int, shape))
        return Value(stored, shape, np.dtype(dtype), name)

    def whole(self, value: Value) -> Value:
        """The value at its full shape."""
        if value.stored == value.shape:
            return value
        if value.constant is not None:
            return constant(np.broadcast_to(value.constant.reshape(value.stored), value.shape))
        target = constant(np.array(value.shape, np.int64))
        return self.node("Expand", [value, target], value.shape, value.dtype)

    def reshaped(self, value: Value, stored, shape=None) -> Value:
        """As stored, in another shape of as many numbers."""
        stored = tuple(stored)
        shape = stored if shape is None else tuple(shape)
        if value.constant is not None:
            array = value.constant.reshape(stored)
            return dataclasses.replace(value, constant=array, stored=stored, shape=shape)
        if value.stored == stored:
            return value.repeated(shape)
        target = constant(np.array(stored, np.int64))
        return self.node("Reshape", [value, target], stored, value.dtype, shape=shape)

    def cast(self, value: Value, dtype) -> Value:
        dtype = np.dtype(dtype)
        if value.dtype == dtype:
            return value
        if value.constant is not None:
            array = value.constant.astype(dtype)
            return dataclasses.replace(value, constant=array, dtype=dtype)
        to = helper.np_dtype_to_tensor_dtype(dtype)
        return self.node("Cast", [value], value.stored, dtype, shape=value.shape, to=to)

    def output(self, value: Value, name: str = "") -> str:
        """A name that this graph itself gives to the whole value."""
        value = self.whole(value)
        name = name or self.new_name("output")
        self.nodes.append(helper.make_node("Identity", [self.name_of(value)], [name], name=name))
        return name


def value_info(name: str, shape, dtype) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, list(shape))


def body(graph: Graph, name: str, results: list[Value]) -> onnx.GraphProto:
    """The graph as the body of a loop or a branch; results: what it gives."""
    outputs = [value_info(graph.output(x), x.shape, x.dtype) for x in results]
    nodes = used(graph.nodes, {x.name for x in outputs})
    return helper.make_graph(nodes, name, graph.inputs, outputs)


def tensor(name: str, value: Value, *, half: bool) -> onnx.TensorProto:
    """A constant as it is stored; half: as float16."""
    array = value.constant.astype(np.float16) if half else value.constant
    return numpy_helper.from_array(array, name)


def names_read(nodes) -> set[str]:
    """All names that nodes read, in the bodies of loops too."""
    found = set()
    for node in nodes:
        found |= {*node.input}
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found |= names_read(attribute.g.node)
    return found


def used(nodes, wanted: set[str]) -> list[onnx.NodeProto]:
    """The nodes that the wanted names need, in their order."""
    kept, wanted = [], set(wanted)
    for node in reversed(nodes):
        if wanted & {*node.output}:
            kept.append(node)
            wanted |= names_read([node])
    return kept[::-1]
