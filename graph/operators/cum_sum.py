"""CumSum along any dimension: a product with a constant triangular matrix."""

from __future__ import annotations

import numpy as np

from graph.layering.operation import Operation
from graph.layering.values import Value
from graph.operators.linear import linear

_MOST_POSITIONS = 4096
"""Positions of the dimension, for a matrix of as many rows and columns."""


def cum_sum(operation: Operation) -> Value:
    """The sum of all positions up to each one (before it with `exclusive`; from it on with `reverse`)."""
    value = operation.value()
    axis = operation.axis(value, int(operation.constant(1).reshape(-1)[0]))
    size = value.shape[axis]
    if value.has_batch(axis):
        raise operation.error(f"adds up the batch of {operation.file_batch}; expected each image by itself")
    if size > _MOST_POSITIONS:
        raise operation.error(f"adds up {size} positions; expected at most {_MOST_POSITIONS}")
    taken = np.tri(size, size, -operation.integer("exclusive", 0), np.float32)
    if operation.integer("reverse", 0):
        taken = taken[::-1, ::-1]
    order = [*(place for place in range(value.rank) if place != axis), axis]
    found = operation.emit(linear(operation, value.transposed(order), taken))
    return found.transposed([order.index(place) for place in range(value.rank)])
