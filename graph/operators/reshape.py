"""Reshape, Flatten, Squeeze, Unsqueeze, Transpose, Identity: other views of the same data."""

from __future__ import annotations

import math

from graph.layering.operation import Operation
from graph.layering.values import Value


def reshape(operation: Operation) -> Value:
    """The input under a constant target shape."""
    value = operation.any_value()
    target = [int(size) for size in operation.constant(1).ravel()]
    before = list(value.shape)
    if not operation.integer("allowzero", 0):
        target = [before[i] if size == 0 and i < len(before) else size for i, size in enumerate(target)]
    if target.count(-1) == 1:
        known = -math.prod(target)
        target[target.index(-1)] = math.prod(before) // max(1, known)
    if math.prod(target) != math.prod(before):
        raise operation.error(f"target shape {target} does not hold the elements of {before}")
    return operation.reshaped(value, target)


def flatten(operation: Operation) -> Value:
    """Two dimensions: those before `axis`, and the others."""
    value = operation.any_value()
    axis = operation.integer("axis", 1)
    axis = axis + value.rank if axis < 0 else axis
    shape = value.shape
    return operation.reshaped(value, [math.prod(shape[:axis]), math.prod(shape[axis:])])


def squeeze(operation: Operation) -> Value:
    """Drop dimensions of size 1."""
    value = operation.any_value()
    axes = operation.axes(1)
    if axes is None:
        dropped = {axis for axis, size in enumerate(value.shape) if size == 1}
    else:
        dropped = {operation.axis(value, axis) for axis in axes}
    for axis in dropped:
        if value.shape[axis] != 1:
            raise operation.error(f"dimension {axis} of {operation.text(value)} is not 1")
    return operation.reshaped(value, [size for axis, size in enumerate(value.shape) if axis not in dropped])


def unsqueeze(operation: Operation) -> Value:
    """Add dimensions of size 1."""
    value = operation.any_value()
    axes = operation.axes(1) or []
    rank = value.rank + len(axes)
    added = {axis + rank if axis < 0 else axis for axis in axes}
    rest = iter(value.shape)
    return operation.reshaped(value, [1 if axis in added else next(rest, 1) for axis in range(rank)])


def transpose(operation: Operation) -> Value:
    """Dimensions in another order."""
    value = operation.value()
    order = [int(axis) for axis in operation.attributes.get("perm", reversed(range(value.rank)))]
    if sorted(order) != list(range(value.rank)):
        raise operation.error(
            f"attribute perm is {order}; expected the dimensions of {operation.text(value)}"
        )
    return value.transposed(order)


def identity(operation: Operation) -> Value:
    """The input under another name (Identity, and Dropout at inference)."""
    training = operation.optional_constant(2)
    if training is not None and bool(training.any()):
        raise operation.error("training_mode is true; expected a model exported for inference")
    return operation.any_value()
