"""What Add, Sum and Mul share: activations of one shape, and constants that are numbers or per-channel
vectors.
"""

from __future__ import annotations

import numpy as np

from graph.constants import Array
from graph.effects import Affine, Effect, Factor
from graph.operation import Operation, Pointwise
from graph.primitives import StepOp
from graph.values import Value


def per_channel(operation: Operation, array: Array, value: Value, name: str) -> Factor:
    """A constant operand of `value` as a number or a per-channel vector (C,).

    Raises ModelError for any other broadcast.
    """
    if array.dtype != np.float32:
        raise operation.error(f"constant {name!r} has element type {array.dtype}; expected float32")
    rank = 1 + len(value.dims)
    if array.ndim <= rank:
        if array.size == 1:
            return float(array.reshape(()))
        shape = (1,) * (rank - array.ndim) + array.shape
        if value.natural and shape[1] == value.channels == array.size:
            return array.reshape(-1).astype(np.float64)
    raise operation.error(
        f"constant {name!r} has shape {list(array.shape)} against {value.shape_text}; "
        "expected one number or one per channel"
    )


def combined(operation: Operation, op: StepOp) -> Pointwise:
    """All inputs joined by `op`, ADD or MUL."""
    values: list[Value] = []
    for item in operation.inputs:
        if isinstance(item, Value):
            values.append(item)
    first = values[0]
    effects: list[Effect] = []
    for name, item in zip(operation.node.input, operation.inputs, strict=True):
        if isinstance(item, Value):
            same = (item.dims, item.channels, item.rows) == (first.dims, first.channels, first.rows)
            if not same:
                raise operation.error(
                    f"inputs have shapes {first.shape_text} and {item.shape_text} ({name!r}); "
                    "expected equal shapes"
                )
        elif item is not None:
            factor = per_channel(operation, item, first, name)
            effects.append(Affine(shift=factor) if op is StepOp.ADD else Affine(scale=factor))
    return Pointwise(tuple(values), tuple(effects), op if len(values) > 1 else None)
