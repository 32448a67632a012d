"""What the decoders of instructions have in common: a core's memories, and checked fields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwmodel.errors import KernelError
from hwmodel.functional import compute
from hwmodel.functional.storage import Box, Memory, Values, View, empty_view, ring_view

# A convolution or a window covers at most this many elements of its input, padding included.
MAX_COVERED = 1 << 29


@dataclass(frozen=True, slots=True)
class Core:
    """The memories that are private to one core."""

    l1: Memory
    weights: Memory
    accumulator: Memory


def extents(values: Values, channels: str) -> Box:
    """Images, rows, columns and the field `channels`; raises KernelError where one is negative."""
    box = (values["images"], values["rows"], values["columns"], values[channels])
    if min(box) < 0:
        raise KernelError(f"an extent of (images, rows, columns, {channels}) = {box} is negative")
    return box


def positive(values: Values, *names: str) -> tuple[int, ...]:
    """The values of fields; raises KernelError where one is less than 1."""
    for name in names:
        if values[name] < 1:
            raise KernelError(f"{name}: {values[name]} is not positive")
    return tuple(values[name] for name in names)


def windowed_input(core: Core, values: Values, channels: int, dilation: tuple[int, int] = (1, 1)) -> View:
    """The view `in` of a convolution or window, without rows where the windows lie in padding only.

    Raises KernelError where it and its padding are too large.
    """
    rows = values["in_rows"]
    if rows < 0:
        raise KernelError(f"in_rows: {rows} is negative")
    (columns,) = positive(values, "in_columns")
    images = values["images"]
    height = compute.span(values["rows"], values["kernel_h"], values["stride_h"], dilation[0])
    width = compute.span(values["columns"], values["kernel_w"], values["stride_w"], dilation[1])
    if images * height * width * channels > MAX_COVERED:
        raise KernelError(f"kernel_h: windows over {height} x {width} positions are more than is possible")
    if rows == 0:
        return empty_view((images, rows, columns, channels))
    return ring_view(core.l1, values, "in", (images, rows, columns, channels))


def float32(bits: int) -> float:
    """The number that the low 32 bits of a field are as a float32."""
    return float(np.uint32(bits & 0xFFFFFFFF).view(np.float32))
