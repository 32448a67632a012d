"""What an instruction moves through the inner memories of its cores, from its fields alone."""

from __future__ import annotations

import numpy as np

from hwmodel.machines.level_table import Ints, LevelTable
from hwmodel.machines.machine_table import MachineTable
from hwmodel.programs.fields import code
from hwmodel.programs.isa import Instruction, Op, OperandKind, VectorKind
from hwmodel.timing.extents import anchor_reads, box, extents, limited, volume
from hwmodel.timing.levels import (
    READ,
    WRITE,
    Extents,
    contraction_accesses,
    level_at,
    pass_down,
    pass_up,
    product_accesses,
)

_TILE = ("images", "rows", "columns", "out_channels", "in_channels")


def inner_accesses(t: LevelTable, m: MachineTable, instruction: Instruction) -> tuple[Ints, int]:
    """Accesses (n + 2, 2) on all cores, and the cycles for which a contraction holds its engine.

    Those of l1 and the weight buffer are all that a contraction makes; for other instructions, what is to be added to
    the bytes that they move (less than nothing where a tensor lies in an inner memory).
    """
    found = np.zeros((t.inner + 2, 2), np.int64)
    cycles = 0
    for position in range(len(instruction.cores)):
        if instruction.op in (Op.CONV, Op.MATMUL):
            cycles = max(cycles, _contraction(t, m, instruction, position, found))
        elif instruction.op is Op.VECTOR:
            _vector(t, m, instruction, position, found)
        elif instruction.op is not Op.LAUNCH:
            _transfer(t, m, instruction, position, found)
    return found, cycles


def _contraction(t: LevelTable, m: MachineTable, instruction: Instruction, position: int, found: Ints) -> int:
    images, rows, columns, channels, depth = extents(instruction, position, *_TILE)
    accumulate = int(instruction.value("accumulate", position) != 0)
    inputs = level_at(t.input_end, instruction.value("in_addr", position), t.inner)
    if instruction.op is Op.MATMUL:
        second = level_at(t.input_end, instruction.value("w_addr", position), t.inner)
        tile = Extents(images, rows, columns, channels, depth, 1, rows, columns, min(columns, m.f_columns))
        return product_accesses(t, m, tile, inputs, second, accumulate, found)
    in_rows, in_columns = extents(instruction, position, "in_rows", "in_columns")
    kernel_h, kernel_w = extents(instruction, position, "kernel_h", "kernel_w")
    stride, dilation = extents(instruction, position, "stride_w", "dilation_w")
    wide = limited((min(columns, m.f_columns) - 1) * stride + (kernel_w - 1) * dilation + 1, "columns")
    taps = volume((kernel_h, kernel_w))
    tile = Extents(images, rows, columns, channels, depth, taps, in_rows, in_columns, wide)
    (address,) = extents(instruction, position, "weight_addr")
    end = address + volume((channels, depth, taps)) * m.element_bytes
    weights = level_at(t.weight_end, end - 1, t.inner + 1)
    return contraction_accesses(t, m, tile, inputs, weights, accumulate, found)


def _vector(t: LevelTable, m: MachineTable, instruction: Instruction, position: int, found: Ints) -> None:
    outputs = box(instruction, position)
    elements = volume(outputs)
    if elements == 0:
        return
    _move(t, instruction.value("out_addr", position), elements * m.element_bytes, WRITE, found)
    kind = code(VectorKind, instruction.value("kind", position), "kind")
    if kind is not VectorKind.ACCUMULATOR:
        read = anchor_reads(instruction, position, kind, outputs) * m.element_bytes
        _move(t, instruction.value("in_addr", position), read, READ, found)
    for step in range(instruction.value("step_count", position)):
        if instruction.value(f"s{step}_kind", position) in (OperandKind.TENSOR, OperandKind.CHANNEL):
            address = instruction.value(f"s{step}_addr", position)
            _move(t, address, elements * m.element_bytes, READ, found)


def _move(t: LevelTable, address: int, size: int, way: int, found: Ints) -> None:
    """The vector engine's access is one of the memory that holds the tensor, not of l1."""
    level = level_at(t.input_end, address, t.inner)
    found[t.inner, way] -= size
    found[level, way] += size


def _transfer(t: LevelTable, m: MachineTable, instruction: Instruction, position: int, found: Ints) -> None:
    if instruction.op is Op.LOADW:
        size = volume(extents(instruction, position, "rows", "row_bytes"))
        (address,) = extents(instruction, position, "dst_addr")
        if size:
            level_of_end = level_at(t.weight_end, address + size - 1, t.inner + 1)
            pass_down(t, t.weight_end, level_of_end, t.inner + 1, size, found)
        return
    outputs = box(instruction, position)
    size = volume(outputs) * m.element_bytes
    if size == 0:
        return

    def level(view: str) -> int:
        return int(level_at(t.input_end, instruction.value(f"{view}_addr", position), t.inner))

    if instruction.op in (Op.STORE, Op.BROADCAST):
        pass_up(t, t.input_end, level("src"), t.inner, size, found)
    if instruction.op is Op.BROADCAST:
        targets, place = instruction.value("targets", position), "dst"
        if "dst_addr" not in instruction.fields:
            targets, place = targets & ~(1 << instruction.cores[position]), "src"
        pass_down(t, t.input_end, level(place), t.inner, size * targets.bit_count(), found)
    if instruction.op in (Op.LOAD, Op.GATHER):
        pass_down(t, t.input_end, level("dst"), t.inner, size, found)
    if instruction.op is Op.GATHER:
        indices = 2 * volume(outputs[:3]) * m.element_bytes
        pass_up(t, t.input_end, level("idx"), t.inner, indices, found)
