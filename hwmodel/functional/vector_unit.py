"""What a VECTOR does on one core: where its values come from, the steps on them, where they go."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwmodel.errors import KernelError
from hwmodel.functional import compute
from hwmodel.functional.elementwise import BINARY, UNARY, Array
from hwmodel.functional.operands import Core, float32, positive, windowed_input
from hwmodel.functional.storage import Box, FloatArray, Values, ring_view, target_view
from hwmodel.programs.fields import code
from hwmodel.programs.isa import OperandKind, StepCode, VectorKind

# Changes the values of a step's accumulator or input in place, or returns others.
_Step = Callable[[Array, Array | None], Array]

_Produce = Callable[[], Array]

# A REARRANGE counts no elements, and reaches no element, beyond this: sums of its fields never overflow.
_MOST = 1 << 48

_REDUCTIONS: dict[VectorKind, Callable[..., Any]] = {
    VectorKind.REDUCE_SUM: np.sum,
    VectorKind.REDUCE_AVERAGE: np.mean,
    VectorKind.REDUCE_MAX: np.max,
    VectorKind.REDUCE_MIN: np.min,
}

_WINDOWS = (VectorKind.WINDOW_MAX, VectorKind.WINDOW_MIN, VectorKind.WINDOW_AVERAGE)


def decode_vector(core: Core, values: Values, box: Box) -> Callable[[Sequence[int]], None]:
    """The action of a VECTOR with output extents `box`; raises KernelError where a field is wrong."""
    target = target_view(core.l1, values, "out", box)
    produce = _producer(core, values, box)
    steps = [_step(core, values, f"s{index}", box) for index in range(values["step_count"])]

    def vector(_: Sequence[int]) -> None:
        result = produce()
        buffer: Array | None = None  # the input may lie in a memory: never change it in place
        for step in steps:
            result = buffer = step(result, buffer)
        target.write(result)

    return vector


def _producer(core: Core, values: Values, box: Box) -> _Produce:
    kind = code(VectorKind, values["kind"], "kind")
    if kind is VectorKind.ACCUMULATOR:
        tile = core.accumulator.dense("acc_addr", values["acc_addr"], box)
        return lambda: tile.astype(np.float32, copy=False)
    if kind is VectorKind.COPY:
        return ring_view(core.l1, values, "in", box).read
    if kind in _WINDOWS:
        return _window(core, values, box, kind)
    if kind is VectorKind.REARRANGE:
        return _rearrange(core, values, box)
    return _over_channels(core, values, box, kind)


def _window(core: Core, values: Values, box: Box, kind: VectorKind) -> _Produce:
    _, rows, columns, channels = box
    kernel_h, kernel_w, stride_h, stride_w = positive(values, "kernel_h", "kernel_w", "stride_h", "stride_w")
    source = windowed_input(core, values, channels)
    out, kernel, stride = (rows, columns), (kernel_h, kernel_w), (stride_h, stride_w)
    pad = (values["pad_top"], values["pad_left"])
    include = bool(values["count_include_pad"])
    if kind is VectorKind.WINDOW_MAX:
        return lambda: compute.window_max(source.read(), out, kernel, stride, pad)
    if kind is VectorKind.WINDOW_MIN:
        return lambda: compute.window_min(source.read(), out, kernel, stride, pad)
    return lambda: compute.window_average(source.read(), out, kernel, stride, pad, include)


def _over_channels(core: Core, values: Values, box: Box, kind: VectorKind) -> _Produce:
    images, rows, columns, count = box
    in_channels, start = values["in_channels"], values["channel_start"]
    source = ring_view(core.l1, values, "in", (images, rows, columns, in_channels))
    if kind is VectorKind.CHANNEL_NORM:
        _check_channels(start, count, in_channels)
        (size,) = positive(values, "size")
        size = min(size, 2 * in_channels + 1)
        alpha, beta, bias = (float32(values[name]) for name in ("alpha", "beta", "bias"))
        alpha *= size / values["size"]
        return lambda: compute.channel_norm(source.read(), start, count, size, alpha, beta, bias)
    group = positive(values, "group")[0] if "group" in values else in_channels
    if in_channels % group:
        raise KernelError(f"group: {group} does not divide in_channels {in_channels}")
    if kind in _REDUCTIONS:
        _check_channels(start, count, in_channels // group)
        function = _REDUCTIONS[kind]
        return lambda: compute.reduce_channels(source.read(), start, count, group, function)
    _check_channels(start, count, in_channels)
    if kind is VectorKind.NORM:
        epsilon, center = float32(values["epsilon"]), bool(values["center"])
        return lambda: compute.normalize(source.read(), start, count, group, epsilon, center)
    log = bool(values.get("log", 0))
    return lambda: compute.softmax(source.read(), start, count, group, log)


def _check_channels(start: int, count: int, channels: int) -> None:
    if start < 0 or start + count > channels:
        raise KernelError(f"channel_start: {start} + {count} channels are not among {channels}")


def _rearrange(core: Core, values: Values, box: Box) -> _Produce:
    images = box[0]
    rows, columns, channels = positive(values, "in_rows", "in_columns", "in_channels")
    source = ring_view(core.l1, values, "in", (images, rows, columns, channels))
    wide, column = values.get("in_map_columns", columns), values.get("in_column_start", 0)
    if column < 0 or column + columns > wide:
        raise KernelError(f"in_column_start: {column} + {columns} columns are not in a map {wide} wide")
    index = _inputs(values, _outputs(values, box), values["in_start"] * wide * channels)
    least, most = int(index.min()), int(index.max())
    if least < 0 or most >= rows * wide * channels:
        raise KernelError(
            f"offset: elements {least} to {most} are read, of {rows} x {columns} x {channels} that are given"
        )
    if columns < wide:
        index = _among_columns(index, wide, column, columns, channels)

    def rearrange() -> Array:
        return np.take(source.read().reshape(images, -1), index, axis=1).reshape(box)

    return rearrange


def _among_columns(
    index: NDArray[np.int64], wide: int, column: int, columns: int, channels: int
) -> NDArray[np.int64]:
    """Elements of rows of `wide` columns as elements of rows that have only `columns` of them, from `column` on."""
    rows, rest = np.divmod(index, wide * channels)
    least, most = int(rest.min()) // channels, int(rest.max()) // channels
    if least < column or most >= column + columns:
        raise KernelError(
            f"in_column_start: columns {least} to {most} are read, of {column} to {column + columns - 1} that are given"
        )
    return np.asarray(rows * (columns * channels) + rest - column * channels)


def _outputs(values: Values, box: Box) -> NDArray[np.int64]:
    """The places (rows, columns, channels) of a REARRANGE's outputs among those of the whole map."""
    _, rows, columns, channels = box
    row, column, channel = values["row_start"], values.get("column_start", 0), values["channel_start"]
    wide, deep = positive(values, "out_columns", "out_channels")
    _check_channels(channel, channels, deep)
    if column < 0 or column + columns > wide:
        raise KernelError(f"column_start: {column} + {columns} columns are not in a map {wide} wide")
    if row < 0 or (row + rows) * wide * deep > _MOST:
        raise KernelError(f"row_start: {row} + {rows} rows, {wide} columns wide, are not in a map")
    pixels = np.add.outer((row + np.arange(rows)) * wide, column + np.arange(columns))
    return np.asarray(np.add.outer(pixels * deep, channel + np.arange(channels)))


def _inputs(values: Values, outputs: NDArray[np.int64], start: int) -> NDArray[np.int64]:
    """The place, from `start` of the whole input on, of the element that each output of a REARRANGE is."""
    digits = range(values["digits"])
    sizes = positive(values, *(f"d{index}_size" for index in digits))
    strides = [values[f"d{index}_stride"] for index in digits]
    last = int(outputs[-1, -1, -1])
    if last >= math.prod(sizes):
        raise KernelError(f"digits: sizes {sizes} do not count {last + 1} elements")
    reach = sum((size - 1) * abs(stride) for size, stride in zip(sizes, strides, strict=True))
    if abs(values["offset"]) + abs(start) + reach > _MOST:
        raise KernelError(f"offset: {values['offset']} and strides {strides} reach further than is possible")
    return compute.digit_sums(outputs, sizes, strides) + (values["offset"] - start)


def _step(core: Core, values: Values, name: str, box: Box) -> _Step:
    step = code(StepCode, values[f"{name}_op"], f"{name}_op")
    if step is StepCode.CLIP:
        low, high = np.float32(float32(values[f"{name}_low"])), np.float32(float32(values[f"{name}_high"]))
        return lambda x, out: np.minimum(np.maximum(x, low, out=out), high, out=out)
    if step in UNARY:
        return UNARY[step]
    function = BINARY[step]
    operand = _operand(core, values, name, box)
    return lambda x, out: function(x, operand(), out)


def _operand(core: Core, values: Values, name: str, box: Box) -> Callable[[], Any]:
    """Reads what a step takes beside y, of a shape that broadcasts to `box`."""
    kind = code(OperandKind, values[f"{name}_kind"], f"{name}_kind")
    if kind is OperandKind.SCALAR:
        scalar = np.float32(float32(values[f"{name}_low"]))
        return lambda: scalar
    if kind is OperandKind.PARAMETER:
        vector: FloatArray = core.weights.dense(f"{name}_addr", values[f"{name}_addr"], box[3:])
        return lambda: vector.astype(np.float32, copy=False)
    channels = 1 if kind is OperandKind.CHANNEL else box[3]
    return ring_view(core.l1, values, name, (*box[:3], channels)).read
