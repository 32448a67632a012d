"""LpNormalization: values over their norm along a dimension."""

from __future__ import annotations

from graph.layering.effects import Apply
from graph.layering.operation import Operation, Pointwise
from graph.operators.joining import joined
from graph.operators.reduce import reduced, squared
from graph.primitives import StepOp


def lp_normalization(operation: Operation) -> Pointwise:
    """x / |x|, the norm the sum of absolute values (p = 1) or the root of the sum of squares (p = 2)."""
    value = operation.stored(operation.value())
    axis, order = operation.axis(value, operation.integer("axis", -1)), operation.integer("p", 2)
    if order not in (1, 2):
        raise operation.error(f"attribute p is {order}; expected 1 or 2")
    if order == 1:
        sizes = operation.emit(Pointwise((value,), value, (Apply(StepOp.ABS),)))
        norm = reduced(operation, sizes, [axis], "sum")
    else:
        norm = operation.stored(reduced(operation, squared(operation, value), [axis], "sum"))
        norm = operation.emit(Pointwise((norm,), norm, (Apply(StepOp.SQRT),)))
    return joined(operation, StepOp.DIV, [value, norm])
