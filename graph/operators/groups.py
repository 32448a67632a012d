"""Groups of channels: what works over some dimensions needs them side by side in the channels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from graph.layering.layout import is_block
from graph.layering.operation import Operation
from graph.layering.values import Value


def grouped(operation: Operation, value: Value, axes: Sequence[int]) -> tuple[Value, int]:
    """`value` stored with dimensions `axes` as groups of consecutive channels, and the size of a group."""
    group = math.prod(value.image_size(axis) for axis in axes)
    if any(value.has_batch(axis) for axis in axes):
        raise operation.error(
            f"works across the batch of {operation.file_batch}; expected each image by itself"
        )
    digits = [digit for axis in axes for digit in value.dims[axis]]
    if value.plain and value.channels % group == 0 and is_block(digits, group):
        return value, group
    others = [axis for axis in range(value.rank) if axis not in axes and value.image_size(axis) > 1]
    return operation.arranged(value, rows=others[:1], columns=others[1:], channels=axes), group
