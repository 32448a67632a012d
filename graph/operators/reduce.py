"""Reductions over any dimensions, and pools of whole maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from graph.layering.effects import Affine, Apply, Operand
from graph.layering.layout import Digit, Digits, is_block, merged
from graph.layering.operation import Anchored, Operation, Operator, Pointwise, Result
from graph.layering.values import Element, Value
from graph.network import AxisMap, RegionMap
from graph.operators.groups import grouped
from graph.operators.joining import joined, truncated
from graph.operators.linear import WHOLE
from graph.operators.pieces import part
from graph.primitives import ChannelReduce, StepOp, Window

_MODES = {
    "ReduceMean": "average",
    "ReduceSum": "sum",
    "ReduceSumSquare": "sum",
    "ReduceL2": "sum",
    "ReduceMax": "max",
    "ReduceMin": "min",
    "ReduceL1": "sum",
    "ReduceLogSum": "sum",
    "ReduceLogSumExp": "sum",
}

_JOINS = {"average": StepOp.ADD, "sum": StepOp.ADD, "max": StepOp.MAX, "min": StepOp.MIN}

_AFTER = {"ReduceL2": StepOp.SQRT, "ReduceLogSum": StepOp.LOG}
"""Steps on the result."""

_FEW = 4
"""Positions of a dimension, spread over the channels, that are joined one after another."""


def reduced(operation: Operation, value: Value, axes: Sequence[int], mode: str) -> Value:
    """Dimensions `axes` of `value` reduced to 1 each: windows over whole rows and columns where they are
    those, groups of channels otherwise. `mode` is average, sum, max or min.
    """
    axes = [axis for axis in axes if value.shape[axis] > 1]
    if not axes:
        return value
    if any(value.has_batch(axis) for axis in axes):
        raise operation.error(f"reduces the batch of {operation.file_batch}; expected each image by itself")
    value, axes = _over_places(operation, operation.stored(value), axes, mode)
    return _over_channels(operation, value, axes, mode) if axes else value


def _over_places(operation: Operation, value: Value, axes: list[int], mode: str) -> tuple[Value, list[int]]:
    """The dimensions that make all rows or all columns reduced, and those that are left."""
    cut = value.axis_digits()
    if cut is None:
        return value, axes
    sizes = {0: value.rows, 1: value.columns, 2: value.channels}
    done: list[int] = []
    kernel = [1, 1]
    for stored in (0, 1):
        inside = [axis for axis in axes if any(value.axis_of(d) == stored for d in cut[axis])]
        pure = all(value.axis_of(d) in (0, 1) for axis in inside for d in cut[axis])
        count = 1
        for axis in inside:
            for digit in cut[axis]:
                count *= digit.size if value.axis_of(digit) == stored else 1
        if inside and pure and count == sizes[stored]:
            kernel[stored] = count
            done += [axis for axis in inside if axis not in done]
    # A dimension over both rows and columns needs both of them whole.
    for axis in done:
        for digit in cut[axis]:
            if kernel[value.axis_of(digit)] != sizes[value.axis_of(digit)]:
                return value, axes
    if not done:
        return value, axes
    rows, columns = (1 if kernel[i] > 1 else sizes[i] for i in (0, 1))
    dims: list[Digits] = []
    for axis, dim in enumerate(cut):
        digits: list[Digit] = []
        for digit in dim if axis not in done else ():
            if not digit.batch and value.axis_of(digit) == 0:
                digit = Digit(digit.size, digit.stride // value.columns * columns)
            digits.append(digit)
        dims.append(merged(digits))
    output = Value("", value.channels, rows, columns, tuple(dims))
    maps = RegionMap(WHOLE if kernel[0] > 1 else AxisMap(), WHOLE if kernel[1] > 1 else AxisMap(), AxisMap())
    effects = (Affine(scale=float(kernel[0] * kernel[1])),) if mode == "sum" else ()
    window = Window("average" if mode == "sum" else mode, kernel[0], kernel[1])
    found = operation.emit(Anchored(window, (value,), (maps,), output, effects=effects))
    return found, [axis for axis in axes if axis not in done]


def _over_channels(operation: Operation, value: Value, axes: list[int], mode: str) -> Value:
    if (
        len(axes) == 1
        and value.shape[axes[0]] <= _FEW
        and not is_block(value.dims[axes[0]], value.shape[axes[0]])
    ):
        return _parts_joined(operation, value, axes[0], mode)
    value, group = grouped(operation, value, axes)
    count = value.channels // group
    dims: list[Digits] = []
    for axis, dim in enumerate(value.dims):
        kept = merged(d if d.batch else Digit(d.size, d.stride // group) for d in dim)
        dims.append(() if axis in axes else kept)
    output = replace(value, channels=count, dims=tuple(dims), source="")
    channels = AxisMap(stride=group, extent=group) if count > 1 else WHOLE
    maps = (RegionMap(AxisMap(), AxisMap(), channels),)
    return operation.emit(Anchored(ChannelReduce(group, mode), (value,), maps, output))


def _parts_joined(operation: Operation, value: Value, axis: int, mode: str) -> Value:
    """The few positions of a dimension joined element by element: as channels side by side they would be copied, and
    fill a vector badly."""
    count = value.shape[axis]
    parts = [operation.stored(part(operation, value, axis, place, 1, 1)) for place in range(count)]
    effects = (Affine(scale=1.0 / count),) if mode == "average" else ()
    return operation.emit(joined(operation, _JOINS[mode], parts, effects))


def squared(operation: Operation, value: Value) -> Value:
    """x * x."""
    value = operation.stored(value)
    return operation.emit(Pointwise((value, value), value, combine=StepOp.MUL))


def _log_sum_exp(operation: Operation, value: Value, axes: Sequence[int]) -> Value:
    """log sum exp(x - m) + m with m the maximum, so that exp never overflows."""
    value = operation.stored(value)
    largest = reduced(operation, value, axes, "max")
    powers = operation.emit(joined(operation, StepOp.SUB, [value, largest], (Apply(StepOp.EXP),)))
    total = operation.stored(reduced(operation, powers, axes, "sum"))
    logarithm = operation.emit(Pointwise((total,), total, (Apply(StepOp.LOG),)))
    return operation.emit(joined(operation, StepOp.ADD, [logarithm, largest]))


def _whole(operation: Operation, total: Value, count: int) -> Value:
    """A sum of integers as an integer, also where it is an average times its places; then, of `count` elements, the
    mean rounded towards zero.
    """
    total = operation.stored(total)
    total = operation.emit(Pointwise((total,), total, (Apply(StepOp.ROUND),)))
    if count == 1:
        return total
    mean = operation.emit(Pointwise((total,), total, (Operand(StepOp.DIV, float(count)),)))
    return operation.emit(truncated(operation, mean))


def _reduce(operation: Operation) -> Result:
    name = operation.node.op_type
    value = operation.value()
    found = operation.axes(1)
    if found is None and operation.integer("noop_with_empty_axes", 0):
        found = []  # squares and magnitudes are still taken
    axes = range(value.rank) if found is None else [operation.axis(value, axis) for axis in found]
    if name in ("ReduceL2", "ReduceLogSumExp"):
        operation.refuse_integers("of which the result is no integer")
    if name == "ReduceLogSumExp":
        result = _log_sum_exp(operation, value, axes)
    else:
        if name in ("ReduceL2", "ReduceSumSquare"):
            value = squared(operation, value)
        elif name == "ReduceL1":
            value = operation.stored(value)
            value = operation.emit(Pointwise((value,), value, (Apply(StepOp.ABS),)))
        whole = operation.element() is Element.INTEGER and name not in ("ReduceMax", "ReduceMin")
        result = reduced(operation, value, axes, "sum" if whole else _MODES[name])
        if whole:
            count = math.prod(value.shape[axis] for axis in axes) if name == "ReduceMean" else 1
            result = _whole(operation, result, count)
    if name in _AFTER:
        result = operation.stored(result)
        result = operation.emit(Pointwise((result,), result, (Apply(_AFTER[name]),)))
    if operation.integer("keepdims", 1):
        return result
    return operation.reshaped(result, [s for axis, s in enumerate(result.shape) if axis not in axes])


def _global_pool(mode: str) -> Operator:
    def read(operation: Operation) -> Result:
        value = operation.map_input()
        return reduced(operation, value, range(2, value.rank), mode)

    return read


REDUCTIONS: dict[str, Operator] = {
    **dict.fromkeys(_MODES, _reduce),
    "GlobalAveragePool": _global_pool("average"),
    "GlobalMaxPool": _global_pool("max"),
}
