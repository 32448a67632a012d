"""Cast between numbers that are all held as floats."""

from __future__ import annotations

import onnx

from graph.layering.effects import Apply
from graph.layering.operation import Operation, Pointwise, Result
from graph.layering.values import Element
from graph.operators.joining import truncated
from graph.primitives import StepOp

_TARGETS = {
    "FLOAT": Element.FLOAT,
    "DOUBLE": Element.FLOAT,
    "INT64": Element.INTEGER,
    "INT32": Element.INTEGER,
    "BOOL": Element.BOOLEAN,
}


def cast(operation: Operation) -> Result:
    """Nothing where every number stays what it is; else rounded towards zero, or 1 for whatever is not 0."""
    target = operation.integer("to", 0)
    known = target in onnx.TensorProto.DataType.values()
    name = onnx.TensorProto.DataType.Name(target) if known else str(target)
    if name not in _TARGETS:
        raise operation.error(f"to {name}; expected {', '.join(_TARGETS)}, FLOAT16 or BFLOAT16")
    return _as(operation, _TARGETS[name], name)


def cast_like(operation: Operation) -> Result:
    """A Cast to what the second input holds."""
    return _as(operation, operation.element(1), f"hold {operation.element(1)}")


def _as(operation: Operation, target: Element, name: str) -> Result:
    value = operation.any_value()
    if value.indices:
        if target is not Element.INTEGER:
            raise operation.error(
                f"input 0 is a graph input of indices, to {name}; expected only Gather to read it, as INT64 or INT32"
            )
        return value
    element = operation.element()
    if element is Element.BOOLEAN or target is Element.FLOAT:
        return value
    if target is Element.BOOLEAN:
        value = operation.stored(value)
        return Pointwise((value,), value, (Apply(StepOp.ABS), Apply(StepOp.SIGN)))
    return value if element is Element.INTEGER else truncated(operation, value)
