"""MaxPool and AveragePool over two-dimensional windows."""

from __future__ import annotations

from graph.network import AxisMap, RegionMap
from graph.operation import Anchored, Operation
from graph.operators.windows import window_axes
from graph.primitives import Window
from graph.values import stored_value


def max_pool(operation: Operation) -> Anchored:
    """Largest element of every window; padding never wins."""
    return _pool(operation, "max", False)


def average_pool(operation: Operation) -> Anchored:
    """Mean of every window, over the elements inside the map or (count_include_pad) over the padding too."""
    return _pool(operation, "average", bool(operation.integer("count_include_pad", 0)))


def _pool(operation: Operation, mode: str, count_include_pad: bool) -> Anchored:
    value = operation.map_input()
    count = value.rank - 2
    dilations = operation.integers("dilations", count, 1)
    if max(dilations) != 1:
        raise operation.error(f"attribute dilations is {list(dilations)}; expected {[1] * count}")
    rows, columns = window_axes(operation, value, operation.integers("kernel_shape", count, 0))
    for axis in (rows, columns):
        if max(axis.pad_start, axis.pad_end) >= axis.kernel:
            pads = [axis.pad_start, axis.pad_end]
            raise operation.error(f"padding {pads} leaves windows empty; expected less than {axis.kernel}")
    if count_include_pad and (rows.extended or columns.extended):
        raise operation.error(
            "ceil_mode adds a partial window to an average that counts padding; expected ceil_mode 0, or "
            "count_include_pad 0"
        )
    return Anchored(
        anchor=Window(
            mode=mode,
            kernel_h=rows.kernel,
            kernel_w=columns.kernel,
            stride_h=rows.stride,
            stride_w=columns.stride,
            pad_top=rows.pad_start,
            pad_left=columns.pad_start,
            pad_bottom=rows.pad_end,
            pad_right=columns.pad_end,
            count_include_pad=count_include_pad,
        ),
        inputs=(value,),
        maps=(RegionMap(rows.axis_map, columns.axis_map, AxisMap()),),
        output=stored_value(
            [*value.dims[:2], *[rows.size, columns.size][:count]],
            rows=[2],
            columns=range(3, value.rank),
            channels=[1],
        ),
    )
