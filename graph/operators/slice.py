"""Slice, Split, Expand, Tile, DepthToSpace and SpaceToDepth: views of parts and repetitions."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from graph.layering.layout import Digit, merged
from graph.layering.operation import Operation
from graph.layering.values import Value
from graph.operators.pieces import part


def slice_(operation: Operation) -> Value:
    """Ranges of some dimensions."""
    value = operation.value()
    starts, ends = operation.axes(1, "starts"), operation.axes(2, "ends")
    if starts is None or ends is None:
        raise operation.error("starts or ends are absent; expected constants")
    axes = operation.axes(3) or list(range(len(starts)))
    steps = operation.axes(4, "steps") or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise operation.error(
            f"starts {starts}, ends {ends}, axes {axes} and steps {steps}; expected as many of each, and no step of 0"
        )
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        place = operation.axis(value, axis)
        taken = range(value.shape[place])[slice(start, end if end > -(2**62) else None, step)]
        if not len(taken):
            raise operation.error(f"takes nothing of dimension {place} of {operation.text(value)}")
        value = part(operation, value, place, taken.start, taken.step, len(taken))
    return value


def split(operation: Operation) -> tuple[Value, ...]:
    """A dimension cut into consecutive parts."""
    value = operation.value()
    axis = operation.axis(value, operation.integer("axis", 0))
    count, size = len(operation.node.output), value.shape[axis]
    each = -(-size // count)
    sizes = operation.axes(1, "split") or [min(each, size - i * each) for i in range(count)]
    if sum(sizes) != size or len(sizes) != count or min(sizes) < 1:
        raise operation.error(
            f"parts of {sizes} of a dimension of {size}; expected {count} that add up to it"
        )
    starts = [0, *itertools.accumulate(sizes)]
    return tuple(part(operation, value, axis, starts[i], 1, sizes[i]) for i in range(count))


def expand(operation: Operation) -> Value:
    """Dimensions of size 1 repeated."""
    value = operation.value()
    target = [int(size) for size in operation.constant(1).ravel()]
    try:
        shape = np.broadcast_shapes(value.shape, tuple(target))
    except ValueError as error:
        raise operation.error(f"{operation.text(value)} does not broadcast to {target}") from error
    return value.broadcast(shape)


def tile(operation: Operation) -> Value:
    """Dimensions repeated as a whole."""
    value = operation.value()
    repeats = [int(count) for count in operation.constant(1).ravel()]
    if len(repeats) != value.rank or min(repeats, default=1) < 1:
        raise operation.error(f"repeats are {repeats}; expected {value.rank} positive numbers")
    if any(count > 1 and value.has_batch(axis) for axis, count in enumerate(repeats)):
        raise operation.error(f"repeats the batch of {operation.file_batch}; expected 1")
    dims = [merged([Digit(count, 0), *dim]) for count, dim in zip(repeats, value.dims, strict=True)]
    return replace(value, dims=tuple(dims))


def depth_to_space(operation: Operation) -> Value:
    """Blocks of channels spread over places."""
    value, size = _map(operation)
    batch, channels, rows, columns = value.shape
    if channels % (size * size):
        raise operation.error(f"{channels} channels; expected a multiple of {size * size}")
    depth = channels // (size * size)
    if operation.word("mode", "DCR") == "DCR":
        parts = operation.reshaped(value, [batch, size, size, depth, rows, columns])
        parts = parts.transposed([0, 3, 4, 1, 5, 2])
    else:
        parts = operation.reshaped(value, [batch, depth, size, size, rows, columns])
        parts = parts.transposed([0, 1, 4, 2, 5, 3])
    return operation.reshaped(parts, [batch, depth, rows * size, columns * size])


def space_to_depth(operation: Operation) -> Value:
    """Blocks of places stacked up in the channels."""
    value, size = _map(operation)
    batch, channels, rows, columns = value.shape
    if rows % size or columns % size:
        raise operation.error(f"{operation.text(value)}; expected rows and columns in blocks of {size}")
    parts = operation.reshaped(value, [batch, channels, rows // size, size, columns // size, size])
    parts = parts.transposed([0, 3, 5, 1, 2, 4])
    return operation.reshaped(parts, [batch, channels * size * size, rows // size, columns // size])


def _map(operation: Operation) -> tuple[Value, int]:
    value, size = operation.value(), operation.integer("blocksize", 0)
    if value.rank != 4 or size < 1:
        raise operation.error(f"blocks of {size} of {operation.text(value)}; expected (B, C, H, W)")
    return value, size
