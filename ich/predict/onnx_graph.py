"""An ONNX graph that takes HU and gives probabilities: window, pad, resize, the networks, their mean, and back.

Padding to a square and resizing are two matrix products, one over rows and one over columns. Their weights are made
inside the graph from the shape of the input, so that slices of any size go in.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from ich.ct import Window
from ich.predict.engines import INPUT, OUTPUT

IR_VERSION = 10  # read by every runtime since 2024


class Graph:
    """Nodes and constants, by the names of their tensors."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: object, kind: type = np.float32) -> str:
        """The name of a constant tensor."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def add(self, kind: str, *inputs: str, **attributes: object) -> str:
        """Append an operation; return the name of its result."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name


def build(networks: Sequence[onnx.ModelProto], size: int, windows: Sequence[Window]) -> onnx.ModelProto:
    """Join `networks`, which take grey levels (n, size, size, windows), to one model.

    Input `hu`: float32 (slices, rows, columns), upright HU. Output `probability`: the same shape, 0 to 1.
    """
    graph = Graph()
    shape = graph.add("Shape", INPUT)
    rows, columns = (graph.add("Gather", shape, graph.constant(axis, np.int64), axis=0) for axis in (1, 2))
    side = graph.add("Max", rows, columns)
    grey = _grey(graph, windows, size, rows, columns, side)
    members = [_member(graph, network, f"member_{k}_", grey) for k, network in enumerate(networks)]
    mean = graph.add("Mean", *members)
    plane = graph.add("Squeeze", mean, graph.constant([3], np.int64))
    back_rows, back_columns = (_back_weights(graph, size, length, side) for length in (rows, columns))
    _resized(graph, plane, back_rows, back_columns, OUTPUT)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["slices", "rows", "columns"])
        for name in (INPUT, OUTPUT)
    ]
    body = helper.make_graph(graph.nodes, "ich", ends[:1], ends[1:], graph.constants)
    model = helper.make_model(body, opset_imports=networks[0].opset_import, ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model


def _grey(graph: Graph, windows: Sequence[Window], size: int, rows: str, columns: str, side: str) -> str:
    """HU -> rounded grey levels 0..255 -> (slices, size, size, windows), rounded again as 8-bit pictures are."""
    row_weights, column_weights = (_weights(graph, size, length, side) for length in (rows, columns))
    twice = graph.add("Equal", side, graph.constant(2 * size, np.int64))
    channels = []
    for window in windows:
        above = graph.add("Sub", INPUT, graph.constant(window.level - window.width / 2))
        levels = graph.add("Round", graph.add("Mul", above, graph.constant(255 / window.width)))
        levels = graph.add("Clip", levels, graph.constant(0), graph.constant(255))
        small = _resized(graph, levels, row_weights, column_weights)
        # OpenCV rounds halves up where it halves a picture, and to even numbers elsewhere.
        up = graph.add("Floor", graph.add("Add", small, graph.constant(0.5)))
        whole = graph.add("Where", twice, up, graph.add("Round", small))
        channels.append(graph.add("Unsqueeze", whole, graph.constant([3], np.int64)))
    return graph.add("Concat", *channels, axis=3)


def _resized(graph: Graph, planes: str, row_weights: str, column_weights: str, name: str = "") -> str:
    """row_weights @ planes @ column_weights transposed."""
    half = graph.add("MatMul", row_weights, planes)
    across = graph.add("Transpose", column_weights, perm=[1, 0])
    result = graph.add("MatMul", half, across)
    if name:
        graph.nodes[-1].output[0] = name
    return name or result


def _weights(graph: Graph, size: int, length: str, side: str) -> str:
    """(size, length): `length` pixels, padded to `side`, become `size` by area (or linearly, if they are fewer)."""
    margin = _margin(graph, length, side)
    to = graph.constant(np.arange(size)[:, None])
    place = graph.add("Add", _count(graph, length), margin)  # of each pixel in the padded square
    return graph.add(
        "Where", graph.add("Less", graph.constant(size, np.int64), side),
        _area(graph, to, place, _float(graph, side), size), _linear(graph, to, place, graph.constant(size), side),
    )  # fmt: skip


def _back_weights(graph: Graph, size: int, length: str, side: str) -> str:
    """(length, size): linear from `size` pixels to `side`, of which `length` are kept."""
    place = graph.add("Add", _count(graph, length), _margin(graph, length, side))
    to = graph.add("Transpose", place, perm=[1, 0])
    pixels = graph.constant(np.arange(size)[None, :])
    return _linear(graph, to, pixels, _float(graph, side), graph.constant(size, np.int64))


def _area(graph: Graph, to: str, place: str, side: str, size: int) -> str:
    """Share of pixel `place` in pixel `to`. Both grids are cut into side * size equal parts: whole numbers, exact."""
    one, sizes = graph.constant(1), graph.constant(size)
    to_end = graph.add("Mul", graph.add("Add", to, one), side)
    place_end = graph.add("Mul", graph.add("Add", place, one), sizes)
    begin = graph.add("Max", graph.add("Mul", to, side), graph.add("Mul", place, sizes))
    overlap = graph.add("Relu", graph.add("Sub", graph.add("Min", to_end, place_end), begin))
    return graph.add("Div", overlap, side)


def _linear(graph: Graph, to: str, place: str, new: str, old: str) -> str:
    """Weights 1 - distance between pixel `place` of `old` and where the centre of pixel `to` of `new` falls."""
    half, last = graph.constant(0.5), graph.add("Sub", _float(graph, old), graph.constant(1))
    ratio = graph.add("Div", _float(graph, old), new)
    centre = graph.add("Sub", graph.add("Mul", graph.add("Add", to, half), ratio), half)
    centre = graph.add("Min", graph.add("Max", centre, graph.constant(0)), last)
    distance = graph.add("Abs", graph.add("Sub", centre, place))
    return graph.add("Relu", graph.add("Sub", graph.constant(1), distance))


def _count(graph: Graph, length: str) -> str:
    """0, 1, ... length - 1 as float32 (1, length)."""
    whole = graph.add("Range", graph.constant(0, np.int64), length, graph.constant(1, np.int64))
    return graph.add("Unsqueeze", _float(graph, whole), graph.constant([0], np.int64))


def _margin(graph: Graph, length: str, side: str) -> str:
    """Pixels of padding before the first one."""
    both = graph.add("Sub", side, length)
    return _float(graph, graph.add("Div", both, graph.constant(2, np.int64)))


def _float(graph: Graph, whole: str) -> str:
    return graph.add("Cast", whole, to=TensorProto.FLOAT)


def _member(graph: Graph, network: onnx.ModelProto, prefix: str, grey: str) -> str:
    """Put a network into the graph, its tensors renamed; return the name of its probabilities."""
    body = compose.add_prefix(network, prefix).graph
    graph.nodes.append(helper.make_node("Identity", [grey], [body.input[0].name]))
    graph.nodes.extend(body.node)
    graph.constants.extend(body.initializer)
    return body.output[0].name
