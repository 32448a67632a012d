"""Clip to two constant limits, such as ReLU6."""

from __future__ import annotations

from graph.layering.effects import Limit
from graph.layering.operation import Operation, Pointwise

_LARGEST = 3.4028234663852886e38


def clip(operation: Operation) -> Pointwise:
    """min(max(x, low), high); the limits are attributes before opset 11 and inputs from then on."""
    limits: list[float] = []
    for index, name, default in ((1, "min", -_LARGEST), (2, "max", _LARGEST)):
        if operation.opset < 11:
            limits.append(operation.number(name, default))
            continue
        array = operation.optional_constant(index)
        if array is not None and array.size != 1:
            raise operation.error(f"{name} has shape {list(array.shape)}; expected one number")
        limits.append(default if array is None else float(array.reshape(())))
    low, high = limits
    value = operation.stored(operation.value())
    return Pointwise((value,), value, (Limit(low, None if low == 0 and high >= _LARGEST else high),))
