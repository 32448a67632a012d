"""Region maps in compiled code: which rows or columns of an input a part of a layer's output needs.

Row y of the output needs rows [y // divisor x stride + offset, + extent) of the input, as far as it has them, or all of
them where the map is `whole`.
"""

from __future__ import annotations

from hwmodel.compiled import compiled_inner, compiled_leaf
from scheduling.lowering.tables import NetworkTable


@compiled_leaf
def needed_start(row: int, stride: int, offset: int, divisor: int, whole: int) -> int:
    """First input row that output rows from `row` on need."""
    if whole:
        return 0
    step = (
        row if divisor == 1 else row // divisor
    )  # a division takes longer than the rest, and is rarely needed
    return max(0, step * stride + offset)


@compiled_leaf
def needed_stop(stop: int, stride: int, offset: int, extent: int, divisor: int, whole: int, size: int) -> int:
    """Row after the last input row that output rows up to `stop` (exclusive) need."""
    if whole:
        return size
    step = stop - 1 if divisor == 1 else (stop - 1) // divisor
    return max(0, min(size, step * stride + offset + extent))


@compiled_inner
def needed_rows(net: NetworkTable, e: int, start: int, stop: int) -> tuple[int, int]:
    """Rows of the input of edge `e` that rows [start, stop) of the layer's output need; none where the second number is
    not above the first."""
    stride, offset, divisor, whole = (
        net.edge_stride[e],
        net.edge_offset[e],
        net.edge_divisor[e],
        net.edge_whole[e],
    )
    size = net.tensor_rows[net.edge_tensor[e]]
    return (
        needed_start(start, stride, offset, divisor, whole),
        needed_stop(stop, stride, offset, net.edge_extent[e], divisor, whole, size),
    )


@compiled_inner
def needed_columns(net: NetworkTable, e: int, start: int, stop: int) -> tuple[int, int]:
    """The same of columns."""
    stride, offset, divisor, whole = (
        net.column_stride[e],
        net.column_offset[e],
        net.column_divisor[e],
        net.column_whole[e],
    )
    size = net.tensor_columns[net.edge_tensor[e]]
    return (
        needed_start(start, stride, offset, divisor, whole),
        needed_stop(stop, stride, offset, net.column_extent[e], divisor, whole, size),
    )
