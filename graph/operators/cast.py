"""Cast between numbers that are all held as floats."""

from __future__ import annotations

import onnx

from graph.effects import Apply
from graph.operation import Operation, Pointwise, Result
from graph.primitives import StepOp

_INTEGERS = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)
_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)


def cast(operation: Operation) -> Result:
    """Nothing where every number stays what it is; else rounded towards zero, or 1 for whatever is not 0."""
    value, target = operation.any_value(), operation.integer("to", 0)
    if (
        (target in _FLOATS and not value.indices)
        or (target in _INTEGERS and operation.whole)
        or operation.boolean
    ):
        return value
    value = operation.stored(value)
    if target == onnx.TensorProto.BOOL:
        return Pointwise((value,), value, (Apply(StepOp.ABS), Apply(StepOp.SIGN)))
    if target in _INTEGERS:
        sign = operation.emit(Pointwise((value,), value, (Apply(StepOp.SIGN),)))
        size = operation.emit(Pointwise((value,), value, (Apply(StepOp.ABS), Apply(StepOp.FLOOR))))
        return Pointwise((size, sign), value, combine=StepOp.MUL)
    name = onnx.TensorProto.DataType.Name(target)
    raise operation.error(f"to {name}; expected FLOAT, DOUBLE, INT64, INT32 or BOOL")
