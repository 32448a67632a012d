"""How much an instruction does on one core, from its fields."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hwmodel.errors import KernelError
from hwmodel.programs.isa import Instruction, VectorKind
from hwmodel.timing.costs import REDUCTIONS, WINDOWS

WINDOW_KINDS = frozenset(WINDOWS.values())
REDUCTION_KINDS = frozenset(REDUCTIONS.values())


def extents(instruction: Instruction, position: int, *names: str) -> tuple[int, ...]:
    """Fields of an instruction on the core at `position`; raises KernelError where one is negative."""
    values = tuple(instruction.value(name, position) for name in names)
    for name, value in zip(names, values, strict=True):
        if value < 0:
            raise KernelError(f"{name}: {value} is negative")
    return values


def box(instruction: Instruction, position: int) -> tuple[int, ...]:
    """Images, rows, columns and channels."""
    return extents(instruction, position, "images", "rows", "columns", "channels")


def volume(sizes: Sequence[int]) -> int:
    """The product of some extents."""
    return math.prod(sizes)


def anchor_reads(instruction: Instruction, position: int, kind: VectorKind, outputs: Sequence[int]) -> int:
    """Elements of l1 that a VECTOR reads before its steps, each once."""
    images, rows, columns, channels = outputs
    if kind is VectorKind.ACCUMULATOR:
        return 0
    if kind in (VectorKind.COPY, VectorKind.REARRANGE):
        return images * rows * columns * channels
    if kind in WINDOW_KINDS:
        in_rows, in_columns = extents(instruction, position, "in_rows", "in_columns")
        return images * in_rows * in_columns * channels
    if kind in REDUCTION_KINDS:
        (group,) = extents(instruction, position, "group")
        return images * rows * columns * channels * group
    (in_channels,) = extents(instruction, position, "in_channels")
    return images * rows * columns * in_channels
