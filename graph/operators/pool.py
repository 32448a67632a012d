"""MaxPool and AveragePool over windows along one and two dimensions; dilated ones phase by phase of the stride."""

from __future__ import annotations

import math
from dataclasses import replace

from graph.layering.operation import Anchored, Operation
from graph.layering.values import Value, stored_value
from graph.network import AxisMap, RegionMap
from graph.operators.pieces import concatenated, part
from graph.operators.windows import WindowAxis, window_axes
from graph.primitives import Window


def max_pool(operation: Operation) -> Anchored | Value:
    """Largest element of every window; padding never wins."""
    return _pool(operation, "max", False)


def average_pool(operation: Operation) -> Anchored | Value:
    """Mean of every window, over the elements inside the map or (count_include_pad) over the padding too."""
    return _pool(operation, "average", bool(operation.integer("count_include_pad", 0)))


def _pool(operation: Operation, mode: str, count_include_pad: bool) -> Anchored | Value:
    if operation.value().rank == 5:
        return _of_volume(operation, mode, count_include_pad)
    value = operation.map_input()
    rows, columns = window_axes(operation, value, operation.integers("kernel_shape", value.rank - 2, 0))
    same = operation.word("auto_pad", "NOTSET").startswith("SAME")
    for axis, size in ((rows, value.rows), (columns, value.columns)):
        if same and (axis.dilation > 1 or (axis.size - 1) * axis.stride + axis.kernel < size):
            # onnxruntime leaves the dilation out of the padding, and would pad by less than nothing.
            raise operation.error(
                f"attribute auto_pad is {operation.word('auto_pad', '')} with kernel {axis.kernel}, stride "
                f"{axis.stride} and dilation {axis.dilation}; expected explicit padding for windows with gaps"
            )
        pads = [axis.pad_start, axis.pad_end - axis.extended]
        if max(pads) >= axis.kernel:
            raise operation.error(f"padding {pads} leaves windows empty; expected less than {axis.kernel}")
    if count_include_pad and (rows.extended or columns.extended):
        # Padding counts, what ceil_mode adds behind it does not: so the padding becomes part of the map.
        value = operation.emit(
            _window(value, _ZEROS, _around(rows, value.rows), _around(columns, value.columns))
        )
        rows, columns = (replace(axis, pad_start=0, pad_end=axis.extended) for axis in (rows, columns))
        count_include_pad = False
    kind = Window(mode, 1, 1, count_include_pad=count_include_pad)
    if rows.dilation > 1 and columns.dilation > 1:
        # A mean over rows and columns is the mean over columns of those over rows, also where padding is left out.
        value = _dilated(operation, value, kind, rows, _none(value.columns), 2)
        value = operation.arranged(value, rows=[2], columns=[3], channels=[1])
        return _dilated(operation, value, kind, _none(value.rows), columns, 3)
    if rows.dilation > 1 or columns.dilation > 1:
        return _dilated(operation, value, kind, rows, columns, 2 if rows.dilation > 1 else 3)
    return _window(value, kind, rows, columns)


def _none(size: int) -> WindowAxis:
    """Windows of 1 that leave an axis of that size as it is."""
    return WindowAxis(1, 1, 1, 0, 0, size, 0)


_ZEROS = Window("average", 1, 1, count_include_pad=True)
"""Windows of 1, of which those on padding are 0."""


def _around(axis: WindowAxis, size: int) -> WindowAxis:
    """Windows of 1 on an axis of that size and on its padding, without what ceil_mode added."""
    start, end = axis.pad_start, axis.pad_end - axis.extended
    return WindowAxis(1, 1, 1, start, end, start + size + end, 0)


def _of_volume(operation: Operation, mode: str, count_include_pad: bool) -> Value:
    """Windows of (B, C, D, H, W) that are 1 wide along a dimension: this one joins the channels."""
    value = operation.value()
    lists = {name: operation.integers(name, 3, 1) for name in ("kernel_shape", "strides", "dilations")}
    pads = operation.integers("pads", 6, 0)
    still = [
        axis
        for axis in range(3)
        if lists["kernel_shape"][axis] == lists["strides"][axis] == 1 and pads[axis] == pads[axis + 3] == 0
    ]
    if not still:
        raise operation.error(
            f"windows of {list(lists['kernel_shape'])} over three dimensions; expected 1, stride 1, along one of them"
        )
    rest = [axis for axis in range(3) if axis != still[0]]
    order = [0, 1, 2 + still[0], *(2 + axis for axis in rest)]
    turned = value.transposed(order)
    batch, channels, size, *others = turned.shape
    flat = operation.reshaped(turned, [batch, channels * size, *others])
    attributes = {name: [items[axis] for axis in rest] for name, items in lists.items()}
    attributes["pads"] = [pads[axis + end] for end in (0, 3) for axis in rest]
    found = _pool(
        replace(operation, inputs=(flat,), attributes={**operation.attributes, **attributes}),
        mode,
        count_include_pad,
    )
    if isinstance(found, Anchored):
        found = operation.emit(found)
    found = operation.reshaped(found, [batch, channels, size, *found.shape[2:]])
    return found.transposed([order.index(axis) for axis in range(5)])


def _window(value: Value, kind: Window, rows: WindowAxis, columns: WindowAxis) -> Anchored:
    return Anchored(
        anchor=replace(
            kind,
            kernel_h=rows.kernel,
            kernel_w=columns.kernel,
            stride_h=rows.stride,
            stride_w=columns.stride,
            pad_top=rows.pad_start,
            pad_left=columns.pad_start,
            pad_bottom=rows.pad_end,
            pad_right=columns.pad_end,
        ),
        inputs=(value,),
        maps=(RegionMap(rows.axis_map, columns.axis_map, AxisMap()),),
        output=stored_value(
            [*value.dims[:2], *[rows.size, columns.size][: value.rank - 2]],
            rows=[2],
            columns=range(3, value.rank),
            channels=[1],
        ),
    )


def _dilated(
    operation: Operation, value: Value, kind: Window, rows: WindowAxis, columns: WindowAxis, along: int
) -> Value:
    """Windows that are dilated along dimension `along` only.

    Every `phases`-th window begins at the same place modulo the dilation, so these are plain windows on every
    `dilation`-th row or column; phases are interleaved afterwards.
    """
    axis = rows if along == 2 else columns
    phases = min(axis.size, axis.dilation // math.gcd(axis.dilation, axis.stride))
    found = []
    for phase in range(phases):
        taken, window = _phase(operation, value, axis, along, phase, phases)
        pair = (window, columns) if along == 2 else (rows, window)
        found.append(operation.emit(_window(taken, kind, *pair)))
    if phases == 1:
        return found[0]
    # Where the windows are no multiple of the phases, the first phases have one more.
    whole, rest = divmod(axis.size, phases)
    shape = list(found[-1].shape)
    parts = [
        operation.reshaped(
            part(operation, item, along, 0, 1, whole), [*shape[: along + 1], 1, *shape[along + 1 :]]
        )
        for item in found
    ]
    mixed = concatenated(operation, parts, along + 1)
    shape[along] = whole * phases
    last = [part(operation, item, along, whole, 1, 1) for item in found[:rest]]
    return concatenated(operation, [operation.reshaped(mixed, shape), *last], along)


def _phase(
    operation: Operation, value: Value, axis: WindowAxis, along: int, phase: int, phases: int
) -> tuple[Value, WindowAxis]:
    """Every `dilation`-th row or column, those that the windows phase, phase + phases, ... read; and these windows."""
    count = -(-(axis.size - phase) // phases)
    stride = phases * axis.stride // axis.dilation if count > 1 else 1
    first, begin = divmod(phase * axis.stride - axis.pad_start, axis.dilation)
    pad_start, begin = max(0, -first), begin + max(0, first) * axis.dilation
    reach = (count - 1) * stride + axis.kernel - pad_start
    present = -(-(value.shape[along] - begin) // axis.dilation)
    size = min(reach, present)
    window = WindowAxis(axis.kernel, stride, 1, pad_start, reach - size, count, 0)
    if size < 1 or max(pad_start, window.pad_end) >= axis.kernel:
        raise operation.error(
            f"a window of {axis.kernel} taps {axis.dilation} apart has them all on padding; expected one on the map"
        )
    taken = part(operation, value, along, begin, axis.dilation, size)
    return operation.arranged(taken, rows=[2], columns=range(3, value.rank), channels=[1]), window
