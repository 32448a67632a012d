"""Reading a folded graph node by node: every node through its operator, to the layers in the making."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import helper

from graph.errors import ModelError
from graph.folded.constants import Array
from graph.folded.folding import FoldedGraph, attribute_bytes, node_name
from graph.layering.elements import output_element
from graph.layering.emitter import Anchored, Emitter, Item, Pointwise
from graph.layering.layout import Digit, Digits, merged
from graph.layering.operation import Operation
from graph.layering.values import Element, Value, default_axes, stored_value
from graph.network import AxisMap, RegionMap
from graph.operators import OPERATORS
from graph.primitives import Move

_CHANNELS_FIRST = frozenset(
    {
        *("Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"),
        *("BatchNormalization", "InstanceNormalization", "GroupNormalization"),
    }
)
_INDEX_INPUTS = {"Gather": 1, "RotaryEmbedding": 3}
"""Inputs that index a table."""
_VIEWS = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})


@dataclass(frozen=True, slots=True)
class ReadGraph:
    """The layers in the making, `constants` (C, H, W) by source, and how each of the graph's `outputs` is stored, by
    its name; several may be views of one tensor.

    `names` gives sources their tensors' names; `layouts` says, for each ONNX tensor that is a tensor of the
    network, how the one is stored in the other, by the tensor's name.
    """

    inputs: Mapping[str, Value]
    items: list[Item]
    constants: Mapping[str, Array]
    outputs: Mapping[str, Value]
    names: Mapping[str, str]
    layouts: Mapping[str, Value]


def read_graph(
    folded: FoldedGraph, constants: Mapping[str, Array], origins: Mapping[str, tuple[str, ...]], weights: bool
) -> ReadGraph:
    """Every node through its operator; `origins` names the ONNX nodes that a node stands for, by its first
    output.
    """
    inputs = {name: _input_value(folded, name) for name in folded.inputs}
    emitter = Emitter(str(folded.source.origin), folded.file_batch, weights)
    values = dict(inputs)
    repeated = Counter(node_name(node) for node in folded.nodes)
    read = frozenset([*folded.outputs, *(name for node in folded.nodes for name in node.input)])
    for node in folded.nodes:
        first = str(node.output[0])
        name = node_name(node) if repeated[node_name(node)] == 1 else first
        operation = _operation(folded, node, constants, values, emitter, read)
        emitter.begin(name, origins.get(first, (name,)), first, _identity(folded, operation))
        result = OPERATORS[node.op_type](operation)
        if isinstance(result, Anchored | Pointwise):
            result = emitter.emit(result)
        found = result if isinstance(result, tuple) else (result,)
        for place, (output, value) in enumerate(zip(node.output, found, strict=False)):
            if output and value is not None:
                values[output] = replace(value, element=output_element(operation, place))
                if emitter.owns(value.source) and value.plain:
                    emitter.names[value.source] = output
    values |= {
        name: _constant(emitter, name, constants[name]) for name in folded.outputs if name in constants
    }
    outputs = {name: _output(emitter, name, values[name], inputs) for name in folded.outputs}
    values |= outputs
    for name, value in outputs.items():
        if emitter.names.get(value.source, value.source) not in outputs:
            emitter.names[value.source] = name
    layouts = {
        name: value
        for name, value in values.items()
        if emitter.names.get(value.source, value.source) == name and value.plain
    }
    return ReadGraph(inputs, emitter.items, emitter.constants, outputs, emitter.names, layouts)


def _input_value(folded: FoldedGraph, name: str) -> Value:
    """A graph input, stored as its rank and its readers suggest."""
    if folded.depths[name] > 1:
        return _input_without_batch(folded, name)
    batch: Digits = merged([Digit(folded.file_batch, 0, batch=True)])
    dims = folded.inputs[name]
    readers = [node for node in folded.nodes if name in node.input]
    rank = 1 + len(dims)
    rows, columns, channels = default_axes(rank)
    if rank == 3 and readers and all(node.op_type in _CHANNELS_FIRST for node in readers):
        rows, channels = channels, rows
    if rank == 4 and readers and all(_to_channels_first(node) for node in readers):
        rows, columns, channels = [1], [2], [3]
    if _holds_indices(folded, name):
        return _index_value(name, (batch, *dims))
    value = stored_value([batch, *dims], rows=rows, columns=columns, channels=channels, source=name)
    return replace(value, element=Element.of(folded.input_types[name]))


def _input_without_batch(folded: FoldedGraph, name: str) -> Value:
    """A graph input of which dimension 0 is not the batch, the first of the dimensions above 1 as its rows."""
    dims = folded.input_shape(name, 1)
    if _holds_indices(folded, name):
        return _index_value(name, (1, *dims), 1)
    inner = [axis for axis, size in enumerate(dims) if size > 1]
    value = stored_value(dims, rows=inner[:-1][:1], columns=inner[1:-1], channels=inner[-1:], source=name)
    return replace(value, element=Element.of(folded.input_types[name]))


def _holds_indices(folded: FoldedGraph, name: str) -> bool:
    """Whether a graph input holds indices of tables, and nothing else."""
    if folded.input_types[name].kind != "i":
        return False
    gathering = _gathering(folded.nodes, name)
    if len(gathering) > 1:
        raise ModelError(
            f"{folded.source.origin}: input {name!r} is read by Gather and by other operators; expected "
            "integers that only Gathers (or RotaryEmbeddings, as positions) read, or numbers"
        )
    return gathering == {True}


def _gathering(nodes: Sequence[onnx.NodeProto], name: str) -> set[bool]:
    """For every reader of an integer tensor, through views of it: whether it indexes a table there."""
    found: set[bool] = set()
    for node in nodes:
        if name not in node.input:
            continue
        if node.op_type in _VIEWS and node.input[0] == name:
            found |= _gathering(nodes, node.output[0])
        else:
            place = _INDEX_INPUTS.get(node.op_type, -1)
            found.add(0 <= place < len(node.input) and node.input[place] == name)
    return found


def _to_channels_first(node: onnx.NodeProto) -> bool:
    orders = [list(item.ints) for item in node.attribute if item.name == "perm"]
    return node.op_type == "Transpose" and orders == [[0, 3, 1, 2]]


def _index_value(name: str, sizes: tuple[Digits | int, ...], hidden: int = 0) -> Value:
    """Indices: two channels for each, over rows and columns; the first `hidden` dimensions, of 1, are left out."""
    places = stored_value(
        [*sizes, 2], rows=[1] if len(sizes) > 1 else [], columns=range(2, len(sizes)), channels=[len(sizes)]
    )
    dims = places.dims[hidden:-1]
    return Value(name, 2, places.rows, places.columns, dims, indices=True, element=Element.INTEGER)


def _output(emitter: Emitter, name: str, value: Value, inputs: Mapping[str, Value]) -> Value:
    """Graph output `name` as all of a tensor: a new one where it is part of another, a graph input or a constant."""
    emitter.begin(name, (name,), name)
    if value.indices:
        raise ModelError(f"{emitter.file}: output {name!r} is a graph input of indices; expected numbers")
    if not value.plain:
        value = emitter.by_default(value)
    if value.source in inputs or value.source in emitter.constants:
        identity = RegionMap(AxisMap(), AxisMap(), AxisMap())
        value = emitter.emit(Anchored(Move(), (value,), (identity,), value))
    return value


def _constant(emitter: Emitter, name: str, array: Array) -> Value:
    """A constant as an output of a file for one image. Raises ModelError where it holds no numbers."""
    if not array.size or array.dtype.kind not in "fiub":
        raise ModelError(
            f"{emitter.file}: output {name!r} is a constant of shape {list(array.shape)} of {array.dtype}; "
            "expected numbers"
        )
    return replace(emitter.constant(name, np.asarray(array)), element=Element.of(array.dtype))


def _identity(folded: FoldedGraph, operation: Operation) -> tuple[object, ...]:
    """All that the constants of a node's layers depend on: how its inputs are stored, but not what they are."""
    node = operation.node
    inputs = [
        replace(item, source="") if isinstance(item, Value) else folded.identity(name)
        for name, item in zip(node.input, operation.inputs, strict=True)
    ]
    return (node.op_type, attribute_bytes(node), len(node.output), *inputs)


def _operation(
    folded: FoldedGraph,
    node: onnx.NodeProto,
    constants: Mapping[str, Array],
    values: Mapping[str, Value],
    emitter: Emitter,
    read: frozenset[str],
) -> Operation:
    where = f"{folded.source.origin}: {node.op_type} node {node_name(node)!r}"
    found: list[Value | Array | None] = []
    for name in node.input:
        item: Value | Array | None = None
        if name:
            item = values[name] if name in values else constants.get(name)
            if item is None:
                raise ModelError(f"{where}: reads {name!r}, which is no supported output of its producer")
        found.append(item if isinstance(item, Value) or item is None else np.asarray(item))
    return Operation(
        node=node,
        where=where,
        opset=folded.source.opset,
        file_batch=folded.file_batch,
        inputs=tuple(found),
        attributes={item.name: helper.get_attribute_value(item) for item in node.attribute},
        emitter=emitter,
        read_names=read,
    )
