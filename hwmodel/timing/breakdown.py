"""Where a program's time goes: every cycle of the makespan is given to one instruction, and to one part of it.

The critical path is followed backwards from the instruction that finishes last. An instruction starts when the last
of its resources is free or the last of its waits has finished; whoever made it wait is before it on the path, of
several the one with the lowest index, and the cycles from that one's start on are that one's. So the cycles of the
path add up to the makespan without a gap.

An instruction's cycles are then parted by what it does with them (`PARTS`). What is hidden behind other work is not
on the path and is in no part.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hwmodel.machines.machine import Machine
from hwmodel.machines.machine_table import MachineTable
from hwmodel.programs.isa import Instruction, Kernel, Op, Program, VectorKind
from hwmodel.timing import resources
from hwmodel.timing.costs import matmul_cycles, matrix_cycles, transfer_startup
from hwmodel.timing.flatten import Ints, Timing
from hwmodel.timing.instruction_cost import instruction_cost

PARTS = (
    "ideal",
    "under_use",
    "issue_drain",
    "port_stalls",
    "vector",
    "engine_wait",
    "dram",
    "llb",
    "exchange",
    "startup",
    "launch",
)
"""What a cycle went into.

ideal: multiply-accumulates of a contraction over the peak of all cores (of the instruction's cores where kernels may
run side by side), rounded down for each instruction. under_use: the rest of the unrolled loops, where the array, or a
core, has nothing to do. issue_drain: between contractions, and until their last results are there. port_stalls: what
a contraction holds its engine beyond that. vector: layers of the vector engine. engine_wait: contractions' results
wait for the vector engine to take them from the accumulator. dram, llb, exchange: transfers that nothing hides, by
the memory that they are slowed by. startup: of DMA transfers, and DRAM's latency. launch: of kernels.
"""

(
    IDEAL,
    UNDER_USE,
    ISSUE_DRAIN,
    PORT_STALLS,
    VECTOR,
    ENGINE_WAIT,
    DRAM,
    LLB,
    EXCHANGE,
    STARTUP,
    LAUNCH,
) = range(len(PARTS))


_EXTENTS = ("images", "rows", "columns", "out_channels", "in_channels")


def path_cycles(timing: Timing) -> Ints:
    """(I,) cycles of each instruction on the critical path, 0 for those off it; they sum to the makespan."""
    flat, start, finish = timing.flat, timing.start, timing.finish
    cycles = np.zeros_like(start)
    if not len(start):
        return cycles
    before, freed = _previous_holders(timing)
    at = int(np.argmax(finish))
    cycles[at] = finish[at] - start[at]
    while start[at] > 0:
        waits = flat.wait_index[flat.wait_ptr[at] : flat.wait_ptr[at + 1]]
        held = slice(flat.resource_ptr[at], flat.resource_ptr[at + 1])
        blocking = np.concatenate((waits[finish[waits] == start[at]], before[held][freed[held] == start[at]]))
        earlier = int(blocking.min())
        cycles[earlier] = start[at] - start[earlier]
        at = earlier
    return cycles


def breakdown(program: Program, machine: Machine, timing: Timing) -> Ints:
    """(I, PARTS) cycles of the makespan by instruction of `timing.flat` and part; all of them sum to the makespan."""
    cycles = path_cycles(timing)
    parts = np.zeros((len(cycles), len(PARTS)), np.int64)
    table = machine.table()
    known: dict[tuple[str, int], Shares] = {}
    for i in np.flatnonzero(cycles).tolist():
        at = timing.flat.positions[i]
        kernel = program.kernels[program.steps[at.step].kernel]
        if at.index >= len(kernel.instructions):
            shares = _copy_shares(table, int(timing.flat.latency[i]))
        else:
            key = (kernel.name, at.index)
            if key not in known:
                known[key] = tuple(_shares(machine, table, kernel, kernel.instructions[at.index]))
            shares = known[key]
        left = int(cycles[i])
        for part, most in shares:
            taken = left if most is None else min(left, most)
            parts[i, part] += taken
            left -= taken
    return parts


def _previous_holders(timing: Timing) -> tuple[Ints, Ints]:
    """For every (instruction, resource) pair of the program, who held the resource before and when it was freed; -1
    where nobody did."""
    flat = timing.flat
    owner = np.repeat(np.arange(len(flat.latency)), np.diff(flat.resource_ptr))
    order = np.argsort(flat.resource_index, kind="stable")
    same = flat.resource_index[order][1:] == flat.resource_index[order][:-1]
    before, freed = np.full_like(owner, -1), np.full_like(owner, -1)
    later, earlier = order[1:][same], order[:-1][same]
    before[later] = owner[earlier]
    freed[later] = timing.start[owner[earlier]] + flat.resource_hold[earlier]
    return before, freed


Share = tuple[int, int | None]
"""A part of an instruction's time, and its cycles, or None for all the rest."""

Shares = tuple[Share, ...]
"""All of an instruction's time, in the order in which it is filled up."""


def _shares(
    machine: Machine, table: MachineTable, kernel: Kernel, instruction: Instruction
) -> Iterator[Share]:
    if instruction.op is Op.LAUNCH:
        yield LAUNCH, None
    elif instruction.op in (Op.CONV, Op.MATMUL):
        cost = instruction_cost(machine, kernel.symbols, instruction)
        hold = cost.holds[0][1] if cost.holds else 0
        steps = min(hold, _array_cycles(table, instruction))
        cores = len(instruction.cores) if machine.concurrent_kernels else machine.cores
        ideal = min(steps, cost.counts.macs // (machine.peak_macs_per_cycle * cores))
        yield IDEAL, ideal
        yield UNDER_USE, steps - ideal
        issue = min(hold - steps, table.matrix_issue)
        yield ISSUE_DRAIN, issue
        yield PORT_STALLS, hold - steps - issue
        yield ISSUE_DRAIN, None
    elif instruction.op is Op.VECTOR:
        takes = instruction.value("kind", 0) == VectorKind.ACCUMULATOR
        yield ENGINE_WAIT if takes else VECTOR, None
    else:
        cost = instruction_cost(machine, kernel.symbols, instruction)
        yield from _transfer_shares(table, instruction, cost.latency_cycles, dict(cost.holds))


def _array_cycles(table: MachineTable, instruction: Instruction) -> int:
    """Cycles of the unrolled loops of a contraction, on the core with most of them."""
    most = 0
    for position in range(len(instruction.cores)):
        images, rows, columns, channels, depth = (instruction.value(name, position) for name in _EXTENTS)
        if instruction.op is Op.CONV:
            taps = instruction.value("kernel_h", position) * instruction.value("kernel_w", position)
            cycles = matrix_cycles(table, images, rows, columns, channels, depth, taps)
        else:
            cycles = matmul_cycles(table, images, rows, columns, channels, depth)
        most = max(most, cycles - table.matrix_issue)
    return most


def _transfer_shares(
    table: MachineTable, instruction: Instruction, latency: int, holds: dict[int, int]
) -> Shares:
    """A transfer's start-up comes first; who follows it on a link waits for the bytes alone, so the start-up is what
    its time on the path has beyond them."""
    memory = EXCHANGE if instruction.op is Op.BROADCAST else _slowest(table, holds)
    start = transfer_startup(table, int(memory != DRAM))
    return (memory, max(0, latency - start)), (STARTUP, None)


def _slowest(table: MachineTable, holds: dict[int, int]) -> int:
    """The memory at the other end of a transfer, the one with the busier link of two."""
    of_dram = {resources.link(table.cores, resources.DRAM_READ), resources.dram_write(table)}
    of_llb = {resources.link(table.cores, resources.LLB_READ), resources.llb_write(table)}
    dram = max((hold for resource, hold in holds.items() if resource in of_dram), default=-1)
    llb = max((hold for resource, hold in holds.items() if resource in of_llb), default=-1)
    return DRAM if dram >= llb else LLB


def _copy_shares(table: MachineTable, latency: int) -> Shares:
    """A system copy crosses both links; DRAM is the one that it is for."""
    return (DRAM, max(0, latency - table.sdma_startup - table.dram_latency)), (STARTUP, None)
