"""Element types: what an operator's output holds, as the schema of ONNX says."""

from __future__ import annotations

from functools import cache

import onnx
from onnx import helper

from graph.layering.operation import Operation
from graph.layering.values import Element

_FIXED = {"tensor(bool)": Element.BOOLEAN, "tensor(int64)": Element.INTEGER}
"""What an output holds whose schema allows one type only."""


def output_element(operation: Operation, place: int) -> Element:
    """What output `place` of a node holds: what Cast names, booleans or integers where its schema allows nothing else,
    or the same as the input of the same type.
    """
    node = operation.node
    if node.op_type == "Cast":
        return Element.of(helper.tensor_dtype_to_np_dtype(operation.integer("to", 0)))
    fixed, same_type = _output_rule(node.op_type, operation.opset, place)
    if fixed is not None:
        return fixed
    for index in range(len(operation.inputs)):
        if same_type and same_type[min(index, len(same_type) - 1)]:
            return operation.element(index)
    return Element.FLOAT


@cache
def _output_rule(op_type: str, opset: int, place: int) -> tuple[Element | None, tuple[bool, ...]]:
    """What output `place` of an operator always holds, if one thing, and which of its inputs have that output's
    type."""
    schema = _schema(op_type, opset)
    if schema is None or not schema.outputs:
        return None, ()
    letter = schema.outputs[min(place, len(schema.outputs) - 1)].type_str
    allowed = {item.type_param_str: list(item.allowed_type_strs) for item in schema.type_constraints}
    same_type = tuple(item.type_str == letter for item in schema.inputs)
    types = allowed.get(letter, [letter])
    return _FIXED.get(types[0]) if len(types) == 1 else None, same_type


def _schema(op_type: str, opset: int) -> onnx.defs.OpSchema | None:
    """The operator's schema at an opset, or the newest where a pattern of nodes became a later operator; None where
    the onnx package is older than that.
    """
    newest = onnx.defs.onnx_opset_version()
    version = next((version for version in (opset, newest) if onnx.defs.has(op_type, version)), None)
    return None if version is None else onnx.defs.get_schema(op_type, version)
