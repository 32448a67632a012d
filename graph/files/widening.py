"""Files in half precision, read as the float32 models that they are roundings of.

Every number of FLOAT16 and BFLOAT16 is one of float32, so weights stay what they are. How results are rounded is no
matter of the file: the machine's element type says it. Casts between kinds of floats say nothing then, and are left
out, so that patterns of nodes are found as in a file of float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, MutableSequence
from functools import cache

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, numpy_helper

from graph.folded.constants import SMALL

HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_WIDENED = (*HALVES, TensorProto.FLOAT)
_TYPE_ATTRIBUTES = ("to", "dtype", "softmax_precision", "stash_type")


def widened(proto: onnx.ModelProto, opset: int, weights: bool) -> onnx.ModelProto:
    """The model with float32 in place of FLOAT16 and BFLOAT16; itself where it has none of them.

    Without `weights` those of more than a few elements lose their data, which nobody reads then.
    """
    if not any(kind in HALVES for kind in _kinds(proto.graph)):
        return proto
    wide = onnx.ModelProto()
    wide.CopyFrom(proto)
    if not any(_graphs(node) for node in wide.graph.node):
        _leave_casts_out(wide.graph, opset)
    _widen(wide.graph, weights)
    return wide


def _kinds(graph: onnx.GraphProto) -> Iterator[int]:
    """Element types that a graph and those in it name."""
    for item in graph.initializer:
        yield item.data_type
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.type.tensor_type.elem_type
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t.data_type
            yield from (tensor.data_type for tensor in attribute.tensors)
            if attribute.name in _TYPE_ATTRIBUTES and attribute.type == AttributeProto.INT:
                yield attribute.i
        for inner in _graphs(node):
            yield from _kinds(inner)


def _widen(graph: onnx.GraphProto, weights: bool) -> None:
    for item in graph.initializer:
        _widen_tensor(item, weights)
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type in HALVES:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in graph.node:
        for attribute in node.attribute:
            for tensor in [attribute.t, *attribute.tensors]:
                _widen_tensor(tensor, True)
            named = attribute.name in _TYPE_ATTRIBUTES and attribute.type == AttributeProto.INT
            if named and attribute.i in HALVES:
                attribute.i = TensorProto.FLOAT
        for inner in _graphs(node):
            _widen(inner, weights)


def _widen_tensor(tensor: TensorProto, weights: bool) -> None:
    if tensor.data_type not in HALVES:
        return
    if weights or math.prod(tensor.dims) <= SMALL:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        return
    tensor.ClearField("raw_data")
    tensor.ClearField("int32_data")
    tensor.data_type = TensorProto.FLOAT


def _graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [
        inner
        for attribute in node.attribute
        for inner in ([attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs)
    ]


def _leave_casts_out(graph: onnx.GraphProto, opset: int) -> None:
    """Let what reads a Cast from one kind of float to another read what the Cast reads."""
    kinds = {item.name: item.data_type for item in graph.initializer}
    kinds |= {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info)}
    outputs = {value.name for value in graph.output}
    instead: dict[str, str] = {}
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        _rename(node.input, instead)
        for place, name in enumerate(node.output):
            kinds.setdefault(name, _output_kind(node, place, opset, kinds))
        from_float = node.op_type == "Cast" and kinds.get(node.input[0]) in _WIDENED
        if from_float and kinds[node.output[0]] in _WIDENED and node.output[0] not in outputs:
            instead[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _rename(names: MutableSequence[str], instead: Mapping[str, str]) -> None:
    for place, name in enumerate(names):
        names[place] = instead.get(name, name)


def _output_kind(node: onnx.NodeProto, place: int, opset: int, kinds: Mapping[str, int]) -> int:
    """Element type of an output, as far as the node and the types of its inputs tell; else UNDEFINED."""
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to":
            return int(attribute.i)
        if node.op_type == "Constant" and attribute.name == "value":
            return int(attribute.t.data_type)
    for name, same in zip(node.input, _same_type(node.op_type, opset, place, len(node.input)), strict=True):
        if same and kinds.get(name, TensorProto.UNDEFINED) != TensorProto.UNDEFINED:
            return kinds[name]
    return TensorProto.UNDEFINED


@cache
def _same_type(op_type: str, opset: int, place: int, inputs: int) -> tuple[bool, ...]:
    """Which of so many inputs of an operator have the type of output `place`."""
    if not onnx.defs.has(op_type, opset):
        return (False,) * inputs
    schema = onnx.defs.get_schema(op_type, opset)
    if not schema.inputs or not schema.outputs:
        return (False,) * inputs
    letter = schema.outputs[min(place, len(schema.outputs) - 1)].type_str
    return tuple(schema.inputs[min(k, len(schema.inputs) - 1)].type_str == letter for k in range(inputs))
