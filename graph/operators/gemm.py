"""Gemm: alpha x A x B + beta x C, A or B transposed or not."""

from __future__ import annotations

import numpy as np

from graph.folded.constants import Array
from graph.layering.operation import Operation, Result
from graph.layering.values import Value
from graph.operators.joining import joined
from graph.operators.linear import linear
from graph.operators.matmul import product_of
from graph.primitives import StepOp


def gemm(operation: Operation) -> Result:
    """A Contraction (or MatMul of two activations), followed by alpha and the bias."""
    first, second = operation.operand(0), operation.operand(1)
    for index, item in enumerate((first, second)):
        if len(item.shape) != 2:
            raise operation.error(f"input {index} has {len(item.shape)} dimensions; expected 2")
    left = _transposed(first) if operation.integer("transA", 0) else first
    right = _transposed(second) if operation.integer("transB", 0) else second
    swapped = False
    if isinstance(left, Value) and isinstance(right, Value):
        anchored = product_of(operation, left, right)
    elif isinstance(left, Value):
        anchored = linear(operation, left, np.asarray(_transposed(right)))
    elif isinstance(right, Value):
        # (A B)^T = B^T A^T
        anchored = linear(operation, right.transposed([1, 0]), left)
        swapped = True
    else:
        raise operation.error("both inputs are constants; expected an activation")
    alpha, beta = operation.number("alpha", 1.0), operation.number("beta", 1.0)
    if alpha % 1 or beta % 1:
        operation.refuse_integers("times a fraction")
    result = operation.emit(anchored)
    if swapped:
        result = result.transposed([1, 0])
    if alpha != 1:
        result = operation.emit(joined(operation, StepOp.MUL, [result, np.array(alpha, np.float32)]))
    bias = operation.item(2)
    if bias is None:
        return result
    if isinstance(bias, Value):
        if beta != 1:
            bias = operation.emit(joined(operation, StepOp.MUL, [bias, np.array(beta, np.float32)]))
        return joined(operation, StepOp.ADD, [result, bias])
    shift = bias if beta == 1 else bias * np.float32(beta)
    return joined(operation, StepOp.ADD, [result, shift])


def _transposed(item: Value | Array) -> Value | Array:
    return item.transposed([1, 0]) if isinstance(item, Value) else item.T
