"""Cast between numbers that are all held as floats."""

from __future__ import annotations

import onnx

from graph.layering.effects import Apply
from graph.layering.operation import Operation, Pointwise, Result
from graph.layering.values import Element
from graph.operators.joining import truncated
from graph.primitives import StepOp

_TARGETS = ("FLOAT", "DOUBLE", "INT64", "INT32", "BOOL")


def cast(operation: Operation) -> Result:
    """Nothing where every number stays what it is; else rounded towards zero, or 1 for whatever is not 0."""
    value, target = operation.any_value(), operation.integer("to", 0)
    known = target in onnx.TensorProto.DataType.values()
    name = onnx.TensorProto.DataType.Name(target) if known else str(target)
    if name not in _TARGETS:
        raise operation.error(f"to {name}; expected {', '.join(_TARGETS[:-1])} or {_TARGETS[-1]}")
    if value.indices:
        if name not in ("INT64", "INT32"):
            raise operation.error(
                f"input 0 is a graph input of indices, to {name}; expected only Gather to read it, as INT64 or INT32"
            )
        return value
    element = operation.element()
    if element is Element.BOOLEAN or name in ("FLOAT", "DOUBLE"):
        return value
    if name == "BOOL":
        value = operation.stored(value)
        return Pointwise((value,), value, (Apply(StepOp.ABS), Apply(StepOp.SIGN)))
    return value if element is Element.INTEGER else truncated(operation, value)
