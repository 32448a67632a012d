"""Pad: with a constant, or by positions of the input (reflect, edge, wrap)."""

from __future__ import annotations

import numpy as np

from graph.layering.layout import Digit, Digits, is_block, merged
from graph.layering.operation import Anchored, Operation
from graph.layering.values import Value
from graph.network import AxisMap, RegionMap
from graph.operators.pieces import concatenated, part, taken
from graph.primitives import Window


def pad(operation: Operation) -> Value:
    """Positions added in front of and behind dimensions; negative ones are cut off."""
    value = operation.value()
    pads = operation.axes(1, "pads") or []
    axes = operation.axes(3) or list(range(value.rank))
    if len(pads) != 2 * len(axes):
        raise operation.error(f"pads are {pads}; expected two for each of {len(axes)} dimensions")
    mode = operation.word("mode", "constant")
    number = operation.number("value", 0.0)
    filler = operation.optional_constant(2) if operation.opset >= 11 else None
    if filler is not None and filler.size > 1:
        raise operation.error(f"the filler has shape {list(filler.shape)}; expected one number")
    if filler is not None and filler.size:
        number = float(filler.reshape(()))
    around: dict[int, tuple[int, int]] = {}
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        place = operation.axis(value, axis)
        size = value.shape[place] + min(before, 0) + min(after, 0)
        if size < 1:
            raise operation.error(f"pads {before} and {after} leave nothing of dimension {place}")
        if min(before, after) < 0:
            value = part(operation, value, place, max(0, -before), 1, size)
        if max(before, after) > 0:
            around[place] = (max(before, 0), max(after, 0))
    if any(value.has_batch(axis) for axis in around):
        raise operation.error("pads the batch; expected each image by itself")
    if mode != "constant":
        for axis, (before, after) in around.items():
            value = taken(
                operation, value, axis, _positions(operation, mode, value.shape[axis], before, after)
            )
        return value
    if number == 0 and around:
        value = operation.stored(value)
        value, around = _with_zeros(operation, value, around)
    for axis, sizes in around.items():
        parts = [value]
        for place, size in zip((0, 2), sizes, strict=True):
            if size:
                shape = list(value.shape)
                shape[axis] = size
                name = f"{operation.node.output[0]}//pad{axis}{place}"
                filled = operation.constant_tensor(np.full(shape, number, np.float32), name, value)
                parts.insert(0 if place == 0 else len(parts), filled)
        value = concatenated(operation, parts, axis)
    return value


def _positions(operation: Operation, mode: str, size: int, before: int, after: int) -> list[int]:
    if mode == "reflect" and max(before, after) >= size:
        raise operation.error(f"reflects {max(before, after)} of {size} positions; expected fewer")
    places = list(range(-before, size + after))
    if mode == "edge":
        return [min(max(place, 0), size - 1) for place in places]
    if mode == "wrap":
        return [place % size for place in places]
    if mode == "reflect":
        return [size - 1 - abs(size - 1 - abs(place)) for place in places]
    raise operation.error(f"attribute mode is {mode}; expected constant, reflect, edge or wrap")


def _with_zeros(
    operation: Operation, value: Value, around: dict[int, tuple[int, int]]
) -> tuple[Value, dict[int, tuple[int, int]]]:
    """Zeros around dimensions that are the stored rows or columns, by a window of 1 that counts its padding;
    also the dimensions that are left.
    """
    rows = columns = (0, 0)
    left = dict(around)
    padded: dict[int, int] = {}
    for axis, pads in around.items():
        if value.rows > 1 and is_block(value.dims[axis], value.rows, value.channels * value.columns):
            rows, padded[axis] = pads, 0
        elif value.columns > 1 and is_block(value.dims[axis], value.columns, value.channels):
            columns, padded[axis] = pads, 1
        else:
            continue
        del left[axis]
    cut = value.axis_digits()
    if not padded or cut is None:
        return value, around
    height, width = value.rows + sum(rows), value.columns + sum(columns)
    dims: list[Digits] = []
    for axis, dim in enumerate(cut):
        digits = [
            Digit(digit.size, digit.stride // value.columns * width)
            if not digit.batch and value.axis_of(digit) == 0
            else digit
            for digit in dim
        ]
        if axis in padded:
            unit = value.channels * (width if padded[axis] == 0 else 1)
            digits = [Digit(height if padded[axis] == 0 else width, unit)]
        dims.append(merged(digits))
    window = Window(
        "average",
        1,
        1,
        pad_top=rows[0],
        pad_left=columns[0],
        pad_bottom=rows[1],
        pad_right=columns[1],
        count_include_pad=True,
    )
    maps = RegionMap(AxisMap(offset=-rows[0]), AxisMap(offset=-columns[0]), AxisMap())
    output = Value("", value.channels, height, width, tuple(dims))
    return operation.emit(Anchored(window, (value,), (maps,), output)), left
