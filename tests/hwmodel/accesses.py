"""Which bytes an instruction touches, worked out from its fields the naive way, for the race checker.

It shares nothing with the simulator or the lowering but the records of the instruction set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hwmodel.machines.machine import Machine
from hwmodel.programs.isa import Instruction, Kernel, Op, OperandKind, StepCode, VectorKind

# A memory: its name, and the core that it belongs to or -1.
Place = tuple[str, int]

Intervals = Iterator[tuple[int, int]]

# Notes bytes of a place that are written, or read.
Add = Callable[[Place, bool, Intervals], None]


@dataclass(frozen=True, slots=True)
class Access:
    """Bytes [low, high) of a memory that an instruction reads or writes for the core at `position`."""

    place: Place
    low: int
    high: int
    write: bool
    position: int


class Fields:
    """The fields of an instruction on one core."""

    def __init__(self, instruction: Instruction, position: int) -> None:
        self.values = {name: instruction.value(name, position) for name in instruction.fields}

    def __getitem__(self, name: str) -> int:
        return self.values[name]

    def extents(self, *names: str) -> tuple[int, ...]:
        return tuple(self.values[name] for name in names)


def merged(intervals: Iterator[tuple[int, int]]) -> list[tuple[int, int]]:
    """Intervals in order, joined where they meet or overlap."""
    result: list[tuple[int, int]] = []
    for low, high in sorted(intervals):
        if result and low <= result[-1][1]:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return result


def view_bytes(f: Fields, name: str, shape: Sequence[int], size: int) -> Iterator[tuple[int, int]]:
    """The bytes of each pixel of a view with a ring, one interval per pixel or per row where pixels meet."""
    images, rows, columns, channels = shape
    for image in range(images):
        for row in range(rows):
            slot = (f[f"{name}_row"] + row) % f[f"{name}_ring"]
            start = f[f"{name}_addr"] + image * f[f"{name}_image_stride"] + slot * f[f"{name}_row_stride"]
            yield from pixels(start, columns, f[f"{name}_col_stride"], channels * size)


def pixels(start: int, columns: int, stride: int, size: int) -> Iterator[tuple[int, int]]:
    if stride == size:
        yield start, start + columns * size
        return
    for column in range(columns):
        yield start + column * stride, start + column * stride + size


def window_bytes(
    f: Fields, name: str, base: int, shape: Sequence[int], size: int
) -> Iterator[tuple[int, int]]:
    """The bytes of each pixel of a window whose symbol is at `base`."""
    images, rows, columns, channels = shape
    for image in range(images):
        for row in range(rows):
            start = base + f[f"{name}_offset"] + image * f[f"{name}_image_stride"]
            start += row * f[f"{name}_row_stride"]
            yield from pixels(start, columns, f[f"{name}_col_stride"], channels * size)


def instruction_accesses(
    machine: Machine, kernel: Kernel, instruction: Instruction, bindings: Mapping[str, int]
) -> list[Access]:
    """All that an instruction reads and writes on all its cores."""
    found: list[Access] = []
    for position, core in enumerate(instruction.cores):
        f = Fields(instruction, position)

        def add(place: Place, write: bool, intervals: Intervals, at: int = position) -> None:
            found.extend(Access(place, low, high, write, at) for low, high in merged(intervals))

        if instruction.op is Op.CONV:
            _conv(f, core, machine.element_bytes, add)
        elif instruction.op is Op.MATMUL:
            _matmul(f, core, machine.element_bytes, add)
        elif instruction.op is Op.GATHER:
            _gather(f, core, machine, kernel, bindings, add)
        elif instruction.op is Op.VECTOR:
            _vector(f, core, machine.element_bytes, add)
        elif instruction.op is not Op.LAUNCH:
            _transfer(instruction.op, f, core, machine, kernel, bindings, add)
    return found


def _one(low: int, size: int) -> Iterator[tuple[int, int]]:
    yield low, low + size


def _transfer(
    op: Op, f: Fields, core: int, machine: Machine, kernel: Kernel, bindings: Mapping[str, int], add: Add
) -> None:
    size = machine.element_bytes
    if op is Op.LOADW:
        rows, row_bytes = f.extents("rows", "row_bytes")
        if rows and row_bytes:
            symbol = kernel.symbols[f["src_symbol"]]
            start = bindings[symbol.name] + f["src_offset"]
            stride = f["src_row_stride"]
            lines = ((start + row * stride, start + row * stride + row_bytes) for row in range(rows))
            add((symbol.memory, -1), False, lines)
            add(("weights", core), True, _one(f["dst_addr"], rows * row_bytes))
        return
    shape = f.extents("images", "rows", "columns", "channels")
    if 0 in shape:
        return
    near, far = ("dst", "src") if op is Op.LOAD else ("src", "dst")
    near_bytes = merged(view_bytes(f, near, shape, size))
    add(("l1", core), op is Op.LOAD, iter(near_bytes))
    if op is Op.BROADCAST:
        elsewhere = "dst_addr" in f.values
        written = merged(view_bytes(f, "dst", shape, size)) if elsewhere else near_bytes
        for other in range(f["targets"].bit_length()):
            if f["targets"] >> other & 1 and (elsewhere or other != core):
                add(("l1", other), True, iter(written))
        return
    symbol = kernel.symbols[f[f"{far}_symbol"]]
    add((symbol.memory, -1), op is Op.STORE, window_bytes(f, far, bindings[symbol.name], shape, size))


def _conv(f: Fields, core: int, size: int, add: Add) -> None:
    tile = f.extents("images", "rows", "columns", "out_channels")
    if 0 in tile:
        return
    source = (f["images"], *f.extents("in_rows", "in_columns", "in_channels"))
    add(("l1", core), False, view_bytes(f, "in", source, size))
    weights = math.prod(f.extents("out_channels", "in_channels", "kernel_h", "kernel_w"))
    add(("weights", core), False, _one(f["weight_addr"], weights * size))
    add(("accumulator", core), True, _one(f["acc_addr"], math.prod(tile) * 4))


def _matmul(f: Fields, core: int, size: int, add: Add) -> None:
    tile = f.extents("images", "rows", "columns", "out_channels")
    if 0 in tile:
        return
    depth, width = f["in_channels"], tile[3]
    add(("l1", core), False, view_bytes(f, "in", (*tile[:3], depth), size))
    right = (width, 1, depth) if f["transposed"] else (depth, 1, width)
    add(("l1", core), False, view_bytes(f, "w", (tile[0], *right), size))
    add(("accumulator", core), True, _one(f["acc_addr"], math.prod(tile) * 4))


def _gather(
    f: Fields, core: int, machine: Machine, kernel: Kernel, bindings: Mapping[str, int], add: Add
) -> None:
    """Which rows are read is in the data, so all of the table counts."""
    shape, size = f.extents("images", "rows", "columns", "channels"), machine.element_bytes
    if 0 in shape:
        return
    add(("l1", core), True, view_bytes(f, "dst", shape, size))
    add(("l1", core), False, view_bytes(f, "idx", (*shape[:3], 2), size))
    symbol = kernel.symbols[f["src_symbol"]]
    start = bindings[symbol.name] + f["src_offset"]
    starts = (start + entry * f["src_row_stride"] for entry in range(f["entries"]))
    add((symbol.memory, -1), False, ((low, low + shape[3] * size) for low in starts))


_WINDOWS = (VectorKind.WINDOW_MAX, VectorKind.WINDOW_MIN, VectorKind.WINDOW_AVERAGE)
_REDUCTIONS = (
    VectorKind.REDUCE_SUM,
    VectorKind.REDUCE_AVERAGE,
    VectorKind.REDUCE_MAX,
    VectorKind.REDUCE_MIN,
)


def _vector(f: Fields, core: int, size: int, add: Add) -> None:
    shape = f.extents("images", "rows", "columns", "channels")
    if 0 in shape:
        return
    add(("l1", core), True, view_bytes(f, "out", shape, size))
    kind = VectorKind(f["kind"])
    if kind is VectorKind.ACCUMULATOR:
        add(("accumulator", core), False, _one(f["acc_addr"], math.prod(shape) * 4))
    elif kind is VectorKind.COPY:
        add(("l1", core), False, view_bytes(f, "in", shape, size))
    elif kind in _WINDOWS:
        source = (shape[0], f["in_rows"], f["in_columns"], shape[3])
        add(("l1", core), False, view_bytes(f, "in", source, size))
    elif kind is VectorKind.REARRANGE:
        source = (shape[0], *f.extents("in_rows", "in_columns", "in_channels"))
        add(("l1", core), False, view_bytes(f, "in", source, size))
    elif kind in _REDUCTIONS:
        used = view_bytes(f, "in", (*shape[:3], shape[3] * f["group"]), size)
        skipped = f["channel_start"] * f["group"] * size
        add(("l1", core), False, ((low + skipped, high + skipped) for low, high in used))
    else:
        add(("l1", core), False, view_bytes(f, "in", (*shape[:3], f["in_channels"]), size))
    for step in range(f["step_count"]):
        name = f"s{step}"
        if StepCode(f[f"{name}_op"]) is StepCode.CLIP:
            continue
        operand = OperandKind(f[f"{name}_kind"])
        if operand is OperandKind.PARAMETER:
            add(("weights", core), False, _one(f[f"{name}_addr"], shape[3] * size))
        elif operand in (OperandKind.TENSOR, OperandKind.CHANNEL):
            channels = 1 if operand is OperandKind.CHANNEL else shape[3]
            add(("l1", core), False, view_bytes(f, name, (*shape[:3], channels), size))
