"""Element types: what an operator's output holds, as the schema of ONNX says."""

from __future__ import annotations

import onnx
from onnx import helper

from graph.operation import Operation
from graph.values import Element

_BOOLEAN = ["tensor(bool)"]


def output_element(operation: Operation, place: int) -> Element:
    """What output `place` of a node holds: what Cast names, booleans where its schema allows nothing else, or the
    same as the input of the same type.
    """
    node = operation.node
    if node.op_type == "Cast":
        return Element.of(helper.tensor_dtype_to_np_dtype(operation.integer("to", 0)))
    schema = _schema(node.op_type, operation.opset)
    if schema is None or not schema.outputs:
        return Element.FLOAT
    letter = schema.outputs[min(place, len(schema.outputs) - 1)].type_str
    allowed = {item.type_param_str: list(item.allowed_type_strs) for item in schema.type_constraints}
    if allowed.get(letter, [letter]) == _BOOLEAN:
        return Element.BOOLEAN
    for index in range(len(operation.inputs)):
        if schema.inputs[min(index, len(schema.inputs) - 1)].type_str == letter:
            return operation.element(index)
    return Element.FLOAT


def _schema(op_type: str, opset: int) -> onnx.defs.OpSchema | None:
    """The operator's schema at an opset, or the newest where a pattern of nodes became a later operator; None where
    the onnx package is older than that.
    """
    newest = onnx.defs.onnx_opset_version()
    version = next((version for version in (opset, newest) if onnx.defs.has(op_type, version)), None)
    return None if version is None else onnx.defs.get_schema(op_type, version)
