"""Where a sliding window sits: kernel, stride, dilation and padding of Conv and the pools, checked."""

from __future__ import annotations

from dataclasses import dataclass

from graph.layering.operation import Operation
from graph.layering.values import Value
from graph.network import AxisMap


@dataclass(frozen=True, slots=True)
class WindowAxis:
    """A window along one axis; `size` is the number of its positions, that is the output's size.

    `extended` is what ceil_mode added to `pad_end`.
    """

    kernel: int
    stride: int
    dilation: int
    pad_start: int
    pad_end: int
    size: int
    extended: int

    @property
    def axis_map(self) -> AxisMap:
        """Input interval that an output interval needs."""
        return AxisMap(self.stride, -self.pad_start, (self.kernel - 1) * self.dilation + 1)


def window_axes(operation: Operation, value: Value, kernel: tuple[int, ...]) -> tuple[WindowAxis, WindowAxis]:
    """The windows of a node along rows and columns, output sizes included; of a (B, C, L) value the columns
    are a window of 1.

    Raises ModelError for attributes that are not those of its spatial axes or leave no output.
    """
    count = value.rank - 2
    strides = operation.integers("strides", count, 1)
    dilations = operation.integers("dilations", count, 1)
    pads = operation.integers("pads", 2 * count, 0)
    if len(kernel) != count:
        raise operation.error(f"attribute kernel_shape is {list(kernel)}; expected {count} integers")
    for name, items in (("kernel_shape", kernel), ("strides", strides), ("dilations", dilations)):
        if min(items) < 1:
            raise operation.error(f"attribute {name} is {list(items)}; expected positive integers")
    if min(pads) < 0:
        raise operation.error(f"attribute pads is {list(pads)}; expected no negative padding")
    sizes = (value.rows, value.columns)
    axes = [
        _window_axis(operation, sizes[i], kernel[i], strides[i], dilations[i], (pads[i], pads[i + count]))
        for i in range(count)
    ]
    return (axes[0], axes[1] if count == 2 else WindowAxis(1, 1, 1, 0, 0, 1, 0))


def _window_axis(
    operation: Operation, size: int, kernel: int, stride: int, dilation: int, pads: tuple[int, int]
) -> WindowAxis:
    reach = (kernel - 1) * dilation + 1
    mode = operation.attributes.get("auto_pad", b"NOTSET").decode()
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        total = max(0, (-(-size // stride) - 1) * stride + reach - size)
        small, large = total // 2, total - total // 2
        pads = (small, large) if mode == "SAME_UPPER" else (large, small)
    elif mode == "VALID":
        pads = (0, 0)
    elif mode != "NOTSET":
        raise operation.error(
            f"attribute auto_pad is {mode}; expected NOTSET, SAME_UPPER, SAME_LOWER or VALID"
        )
    start, end = pads
    room = size + start + end - reach
    if room < 0:
        raise operation.error(
            f"a window of {reach} does not fit {size} rows or columns with padding {list(pads)}"
        )
    count, extended = room // stride + 1, 0
    if operation.integer("ceil_mode", 0) and room % stride and count * stride < size + start:
        extended = count * stride - room
        count += 1
    return WindowAxis(kernel, stride, dilation, start, end + extended, count, extended)
