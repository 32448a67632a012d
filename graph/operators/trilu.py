"""Trilu: the upper or lower triangle of matrices, 0 elsewhere."""

from __future__ import annotations

import numpy as np

from graph.layering.operation import Operation, Pointwise
from graph.operators.joining import joined
from graph.primitives import StepOp


def trilu(operation: Operation) -> Pointwise:
    """The last two dimensions where the column is at least the row + k (`upper`), or at most that."""
    value = operation.value()
    if value.rank < 2:
        raise operation.error(f"input 0 has shape {operation.text(value)}; expected matrices")
    diagonal = operation.optional_constant(1)
    k = 0 if diagonal is None else int(diagonal.reshape(-1)[0])
    rows, columns = value.shape[-2:]
    lower = np.tri(rows, columns, k - 1 if operation.integer("upper", 1) else k, np.bool_)
    kept = ~lower if operation.integer("upper", 1) else lower
    return joined(operation, StepOp.KEEP_IF, [value, kept.astype(np.float32)], fixed=True)
