"""Instructions on `tiny`, and what one costs, for the tests of costs by hand."""

from collections.abc import Mapping

from hwmodel.machines.machine import Machine, load_machine
from hwmodel.programs.isa import Op, Symbol, VectorKind
from hwmodel.timing.counts import Counts
from hwmodel.timing.instruction_cost import instruction_cost
from hwmodel.timing.resources import resource_name
from tests.hwmodel.made_programs import Shape, box, instruction, steps, view, window

TINY = load_machine("tiny")
STCP = load_machine("stcp920")
SYMBOLS = (Symbol("d", "dram"), Symbol("l", "llb"))
DRAM, LLB = 0, 1
"""Symbols."""


def cost(
    op: Op, cores: tuple[int, ...], *fields: Mapping[str, int | tuple[int, ...]], machine: Machine = TINY
) -> tuple[int, dict[str, int], Counts]:
    """Latency, holds by name of the resource, counts."""
    found = instruction_cost(machine, SYMBOLS, instruction(op, cores, *fields))
    names = {resource_name(i, machine.cores): hold for i, hold in found.holds}
    assert len(names) == len(found.holds)
    return found.latency_cycles, names, found.counts


SHAPE: Shape = (1, 2, 4, 8)  # 64 elements, 256 bytes on tiny


def load(symbol: int | tuple[int, ...], offset: int | tuple[int, ...]) -> dict[str, int | tuple[int, ...]]:
    fields: dict[str, int | tuple[int, ...]] = {**box(SHAPE), **view("dst", 0, SHAPE[1:], 4)}
    return fields | window("src", 0, 0, SHAPE[1:], 4) | {"src_symbol": symbol, "src_offset": offset}


def store(symbol: int, offset: int) -> dict[str, int]:
    return {**box(SHAPE), **view("src", 0, SHAPE[1:], 4), **window("dst", symbol, offset, SHAPE[1:], 4)}


def dma(hold: int, **links: int) -> dict[str, int]:
    """Holds of both cores' queues and of links, as in dram_read=4."""
    return {"core 0 dma": hold, "core 1 dma": hold} | {
        name.replace("_", " "): value for name, value in links.items()
    }


def conv(rows: int | tuple[int, ...] = 4, accumulate: int = 0) -> dict[str, int | tuple[int, ...]]:
    """A 3 x 3 convolution of (6, 6, 3) into (rows, 4, 8)."""
    fields: dict[str, int | tuple[int, ...]] = dict(view("in", 0, (6, 6, 3), 4))
    ones = ("stride_h", "stride_w", "dilation_h", "dilation_w")
    fields |= dict.fromkeys(ones, 1) | dict.fromkeys(("pad_top", "pad_left", "weight_addr", "acc_addr"), 0)
    fields |= {"images": 1, "columns": 4, "out_channels": 8, "in_rows": 6, "in_columns": 6, "in_channels": 3}
    return fields | {"kernel_h": 3, "kernel_w": 3, "rows": rows, "accumulate": accumulate}


def matmul(rows: int | tuple[int, ...] = 4, accumulate: int = 0) -> dict[str, int | tuple[int, ...]]:
    """For 3 images (rows x 4, 5) times (5, 6)."""
    fields: dict[str, int | tuple[int, ...]] = {**view("in", 0, (4, 4, 5), 4), **view("w", 0, (5, 1, 6), 4)}
    fields |= {"images": 3, "rows": rows, "columns": 4, "out_channels": 6, "in_channels": 5}
    return fields | {"transposed": 0, "acc_addr": 0, "accumulate": accumulate}


def gathered(rows: int | tuple[int, ...] = 2) -> dict[str, int | tuple[int, ...]]:
    fields: dict[str, int | tuple[int, ...]] = {**box(SHAPE), **view("dst", 0, SHAPE[1:], 4)}
    fields |= view("idx", 0, (2, 4, 2), 4) | {"rows": rows, "src_symbol": DRAM, "src_offset": 0}
    return fields | {"src_row_stride": 32, "entries": 1000}


def vector(kind: VectorKind, *parts: Mapping[str, int], **more: int) -> dict[str, int]:
    return {"kind": kind, **box(SHAPE), **view("out", 0, SHAPE[1:], 4), **steps(*parts), **more}
