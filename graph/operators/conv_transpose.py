"""ConvTranspose: one Contraction that computes every phase of the stride as channels of its own, then the
phases interleaved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graph.errors import MOST_COMPUTED_ELEMENTS
from graph.layering.effects import Affine
from graph.layering.operation import Anchored, Operation
from graph.layering.values import Value, stored_value
from graph.network import AxisMap, RegionMap
from graph.operators.linear import channel_blocks
from graph.operators.pieces import part
from graph.primitives import Contraction


@dataclass(frozen=True, slots=True)
class _Axis:
    """Output o = q x stride + phase reads input q - t by tap k where k x dilation = t x stride + phase + pad, for
    t from `first` to `last`.
    """

    kernel: int
    stride: int
    dilation: int
    pad: int
    size: int
    count: int
    first: int
    last: int

    @property
    def taps(self) -> int:
        return self.last - self.first + 1

    def picks(self) -> list[list[int | None]]:
        """The tap for every phase and every place of the Contraction's kernel, or None for nothing."""
        found: list[list[int | None]] = []
        for phase in range(self.stride):
            row: list[int | None] = []
            for place in range(self.taps):
                reach = (self.last - place) * self.stride + phase + self.pad
                tap = reach // self.dilation
                fits = reach % self.dilation == 0 and 0 <= tap < self.kernel
                row.append(tap if fits else None)
            found.append(row)
        return found


def conv_transpose(operation: Operation) -> Value:
    """A Contraction, an interleaved view of its channels, and that cut to size."""
    value = operation.map_input()
    weight = operation.weight(1)
    groups, spatial = operation.integer("group", 1), value.rank - 2
    fits = weight.ndim == value.rank and weight.shape[0] == value.channels
    if not fits or groups < 1 or value.channels % groups:
        raise operation.error(
            f"a weight of shape {list(weight.shape)} in {groups} groups on {value.channels} channels; "
            f"expected (C, K/groups, kernel) with {value.rank} dimensions"
        )
    axes = [_axis(operation, value, weight.shape[2:], i) for i in range(spatial)]
    if spatial == 1:
        weight = weight[..., None]
        axes.append(_Axis(1, 1, 1, 0, 1, 1, 0, 0))
    rows, columns = axes
    inner, outer = value.channels // groups, int(weight.shape[1])
    phases = rows.stride * columns.stride
    elements = groups * phases * outer * inner * rows.taps * columns.taps
    if elements > MOST_COMPUTED_ELEMENTS:
        raise operation.error(
            f"strides of {rows.stride} and {columns.stride} make a weight of {elements} elements; expected at most "
            f"{MOST_COMPUTED_ELEMENTS}"
        )
    kernel = np.zeros(
        (groups, rows.stride, columns.stride, outer, inner, rows.taps, columns.taps), np.float32
    )
    parts = weight.reshape(groups, inner, outer, rows.kernel, columns.kernel).transpose(0, 2, 1, 3, 4)
    for p, row in enumerate(rows.picks()):
        for q, column in enumerate(columns.picks()):
            for i, down in enumerate(row):
                for j, across in enumerate(column):
                    if down is not None and across is not None:
                        kernel[:, p, q, :, :, i, j] = parts[..., down, across]
    bias = operation.optional_constant(2)
    shift = None
    if bias is not None:
        if bias.shape != (groups * outer,):
            raise operation.error(f"the bias has shape {list(bias.shape)}; expected [{groups * outer}]")
        shift = np.broadcast_to(
            bias.astype(np.float64).reshape(groups, 1, outer), (groups, phases, outer)
        ).reshape(-1)
    batch = value.dims[0]
    # Dimensions: batch, groups, phases down and across, channels of a group, rows, columns.
    output = stored_value(
        [batch, groups, rows.stride, columns.stride, outer, rows.count, columns.count],
        rows=[5],
        columns=[6],
        channels=[1, 2, 3, 4],
    )
    result = operation.emit(
        Anchored(
            anchor=Contraction(
                groups * phases * outer,
                value.channels,
                rows.taps,
                columns.taps,
                pad_top=rows.last,
                pad_left=columns.last,
                pad_bottom=_end(value.rows, rows),
                pad_right=_end(value.columns, columns),
                groups=groups,
            ),
            inputs=(value,),
            maps=(
                RegionMap(
                    AxisMap(offset=-rows.last, extent=rows.taps),
                    AxisMap(offset=-columns.last, extent=columns.taps),
                    channel_blocks(groups, phases * outer, inner),
                ),
            ),
            output=output,
            weight=kernel.reshape(groups * phases * outer, inner, rows.taps, columns.taps),
            effects=() if shift is None else (Affine(shift=shift),),
        )
    )
    mixed = result.transposed([0, 1, 4, 5, 2, 6, 3])
    sizes = [rows.count * rows.stride, columns.count * columns.stride][:spatial]
    mixed = operation.reshaped(mixed, [value.shape[0], groups * outer, *sizes])
    for i, axis in enumerate(axes[:spatial]):
        if axis.size != sizes[i]:
            mixed = part(operation, mixed, 2 + i, 0, 1, axis.size)
    return mixed


def _end(size: int, axis: _Axis) -> int:
    """Padding behind the input so that the Contraction has `count` positions."""
    return axis.count + axis.taps - 1 - size - axis.last


def _axis(operation: Operation, value: Value, kernel: tuple[int, ...], i: int) -> _Axis:
    spatial = value.rank - 2
    size = value.shape[2 + i]
    stride = operation.integers("strides", spatial, 1)[i]
    dilation = operation.integers("dilations", spatial, 1)[i]
    extra = operation.integers("output_padding", spatial, 0)[i]
    pads = operation.integers("pads", 2 * spatial, 0)
    begin, end = pads[i], pads[i + spatial]
    reach = (kernel[i] - 1) * dilation + 1
    full = (size - 1) * stride + extra + reach
    mode = operation.word("auto_pad", "NOTSET")
    wanted: int | None = None
    if "output_shape" in operation.attributes:
        wanted = int(operation.attributes["output_shape"][-spatial:][i])
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        wanted = size * stride
    if wanted is not None:
        total = max(0, full - wanted)
        begin = total // 2 if mode == "SAME_UPPER" else total - total // 2
        end = full - wanted - begin
    out = full - begin - end
    if out < 1:
        raise operation.error(f"padding {[begin, end]} leaves nothing of {full} positions")
    count = -(-out // stride)
    first = -((stride - 1 + begin) // stride)
    last = max(0, (reach - 1 - begin) // stride)
    # The Contraction pads with nothing less than 0.
    first = min(first, count - size)
    return _Axis(kernel[i], stride, dilation, begin, out, count, first, last)
