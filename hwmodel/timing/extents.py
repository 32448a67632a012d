"""How much an instruction does on one core, from its fields."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hwmodel.errors import KernelError
from hwmodel.programs.isa import Instruction, VectorKind
from hwmodel.timing.costs import REDUCTIONS, WINDOWS

WINDOW_KINDS = frozenset(WINDOWS.values())
REDUCTION_KINDS = frozenset(REDUCTIONS.values())


MOST_WORK = 1 << 44
"""No instruction makes more steps, elements or bytes: far beyond what memories hold, and sums fit 64 bits."""


def extents(instruction: Instruction, position: int, *names: str) -> tuple[int, ...]:
    """Fields of an instruction on the core at `position`; raises KernelError where one is negative or too large."""
    values = tuple(instruction.value(name, position) for name in names)
    for name, value in zip(names, values, strict=True):
        if value < 0:
            raise KernelError(f"{name}: {value} is negative")
        if value > MOST_WORK:
            raise KernelError(f"{name}: {value} is larger than {MOST_WORK}")
    return values


def limited(amount: int, of: str) -> int:
    """`amount`, of what `of` says; raises KernelError where it is more than an instruction can have."""
    if amount > MOST_WORK:
        raise KernelError(f"{amount} {of} in one instruction, more than {MOST_WORK}")
    return amount


def box(instruction: Instruction, position: int) -> tuple[int, ...]:
    """Images, rows, columns and channels."""
    return extents(instruction, position, "images", "rows", "columns", "channels")


def volume(sizes: Sequence[int]) -> int:
    """The product of some extents; raises KernelError where it is too large."""
    return limited(math.prod(sizes), "elements")


def anchor_reads(instruction: Instruction, position: int, kind: VectorKind, outputs: Sequence[int]) -> int:
    """Elements of l1 that a VECTOR reads before its steps, each once."""
    images, rows, columns, channels = outputs
    if kind is VectorKind.ACCUMULATOR:
        return 0
    if kind in (VectorKind.COPY, VectorKind.REARRANGE):
        return volume(outputs)
    if kind in WINDOW_KINDS:
        in_rows, in_columns = extents(instruction, position, "in_rows", "in_columns")
        return volume((images, in_rows, in_columns, channels))
    if kind in REDUCTION_KINDS:
        (group,) = extents(instruction, position, "group")
        return volume((*outputs, group))
    (in_channels,) = extents(instruction, position, "in_channels")
    return volume((images, rows, columns, in_channels))
