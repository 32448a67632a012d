"""Reshape, Flatten, Squeeze and Unsqueeze where no data moves: unit sizes come and go, or a map becomes a
vector.
"""

from __future__ import annotations

import math

from graph.operation import Operation, View


def reshape(operation: Operation) -> View:
    """The input under a constant target shape whose first dimension is the batch."""
    operation.require("allowzero", 0)
    value = operation.value()
    target = [int(size) for size in operation.constant(1).ravel()]
    before = [operation.file_batch, *value.dims]
    for index, size in enumerate(target):
        if size == 0 and index < len(before):
            target[index] = before[index]
    if target.count(-1) == 1:
        known = math.prod(size for size in target if size != -1)
        target[target.index(-1)] = math.prod(before) // max(1, known)
    if math.prod(target) != math.prod(before):
        raise operation.error(f"target shape {target} does not hold the elements of {before}")
    return _view(operation, target)


def flatten(operation: Operation) -> View:
    """(B, C, H, W) as (B, C x H x W): axis 1 only."""
    value = operation.value()
    axis = operation.integer("axis", 1)
    axis = axis + 1 + len(value.dims) if axis < 0 else axis
    if axis != 1:
        raise operation.error(f"attribute axis is {axis}; expected 1 (the batch stays the first dimension)")
    return _view(operation, [operation.file_batch, math.prod(value.dims)])


def squeeze(operation: Operation) -> View:
    """Drop unit dimensions, never the batch."""
    value = operation.value()
    sizes = [operation.file_batch, *value.dims]
    axes = _axes(operation)
    if axes is None:
        raise operation.error("no axes are given; expected a list, so that a batch of 1 is not dropped")
    dropped = {axis + len(sizes) if axis < 0 else axis for axis in axes}
    return _view(operation, [size for index, size in enumerate(sizes) if index not in dropped], 0 in dropped)


def unsqueeze(operation: Operation) -> View:
    """Add unit dimensions behind the batch."""
    value = operation.value()
    axes = _axes(operation) or []
    rank = 1 + len(value.dims) + len(axes)
    added = {axis + rank if axis < 0 else axis for axis in axes}
    rest = iter([operation.file_batch, *value.dims])
    return _view(operation, [1 if index in added else next(rest) for index in range(rank)], 0 in added)


def _axes(operation: Operation) -> list[int] | None:
    if operation.opset >= 13:
        array = operation.optional_constant(1)
        return None if array is None else [int(axis) for axis in array.ravel()]
    found = operation.attributes.get("axes")
    return None if found is None else [int(axis) for axis in found]


def _view(operation: Operation, target: list[int], batch_moves: bool = False) -> View:
    value = operation.value()
    view = value.viewed(tuple(target[1:]))
    if batch_moves or not target or target[0] != operation.file_batch or view is None:
        raise operation.error(
            f"{operation.node.op_type} from {[operation.file_batch, *value.dims]} to {target} is not "
            "supported; expected unit dimensions dropped or added, or a map flattened behind the batch"
        )
    return View(view)
