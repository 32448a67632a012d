"""What an instruction costs, from its fields alone: a kernel read from a file costs what it cost in memory.

An SPMD instruction runs on its cores in lock-step: the core with most to do decides for all, and an engine is
held on every core of the instruction, also where there is nothing to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwmodel.errors import KernelError
from hwmodel.machines.level_table import LevelTable
from hwmodel.machines.machine import Machine
from hwmodel.machines.machine_table import MachineTable
from hwmodel.programs.fields import check, code, window_fields
from hwmodel.programs.isa import (
    Instruction,
    Launch,
    Op,
    OperandKind,
    StepCode,
    Symbol,
    SystemCopy,
    VectorKind,
)
from hwmodel.programs.placement import launched_cores
from hwmodel.timing import resources
from hwmodel.timing.bursts import bytes_in_bursts, rounded_bytes
from hwmodel.timing.costs import (
    Work,
    ceil_div,
    dma_hold,
    link_cycles,
    matmul_cycles,
    matrix_cycles,
    passes_of,
    system_copy_cycles,
    vector_cycles,
    vector_work,
)
from hwmodel.timing.counts import NO_INNER, Counts, InnerCounts, total
from hwmodel.timing.extents import (
    REDUCTION_KINDS,
    WINDOW_KINDS,
    anchor_reads,
    box,
    extents,
    limited,
    volume,
)
from hwmodel.timing.inner_cost import inner_accesses

ACCUMULATOR_BYTES = 4
"""Partial sums are float32."""

Hold = tuple[int, int]
"""A resource (numbered as in `hwmodel.timing.resources`) and the cycles for which it is held."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Cycles until an instruction's results are there, what it holds meanwhile, and what it counts."""

    latency_cycles: int
    holds: tuple[Hold, ...]
    counts: Counts
    inner: InnerCounts = NO_INNER


def instruction_cost(machine: Machine, symbols: Sequence[Symbol], instruction: Instruction) -> Cost:
    """The cost of one instruction of a kernel with these symbols.

    Raises KernelError where a field is missing, unknown, negative or larger than any memory, or a core or symbol does
    not exist.
    """
    check(instruction)
    table, levels = machine.table(), machine.level_table
    cost = _outer_cost(machine, table, symbols, instruction)
    return cost if levels is None else _with_inner(table, levels, instruction, cost)


def _with_inner(table: MachineTable, levels: LevelTable, instruction: Instruction, cost: Cost) -> Cost:
    """The same with the inner memories: what they move, what l1 and the weight buffer move for them, and the time for
    which their ports stall the matrix engine."""
    found, cycles = inner_accesses(levels, table, instruction)
    count, counts = levels.inner, cost.counts
    contracts = instruction.op in (Op.CONV, Op.MATMUL)
    l1, weights = found[count].tolist(), found[count + 1].tolist()
    counts = counts._replace(
        l1_read_bytes=l1[0] + (0 if contracts else counts.l1_read_bytes),
        l1_write_bytes=l1[1] + counts.l1_write_bytes,
        weights_read_bytes=weights[0] + (0 if contracts else counts.weights_read_bytes),
    )
    latency, holds, stall = cost.latency_cycles, cost.holds, 0
    if contracts and holds:
        stall = max(0, cycles - holds[0][1])
        latency += stall
        holds = tuple((resource, hold + stall) for resource, hold in holds)
    inner = InnerCounts(tuple(found[:count, 0].tolist()), tuple(found[:count, 1].tolist()), stall)
    return Cost(latency, holds, counts, inner)


def _outer_cost(
    machine: Machine, table: MachineTable, symbols: Sequence[Symbol], instruction: Instruction
) -> Cost:
    for core in instruction.cores:
        if not 0 <= core < table.cores:
            raise KernelError(f"core {core}: {machine.name} has cores 0 to {table.cores - 1}")
    if instruction.op is Op.LAUNCH:
        return launch_cost(machine, Launch("", {}, {}), instruction)
    if instruction.op in (Op.CONV, Op.MATMUL):
        return _contraction(table, instruction)
    if instruction.op is Op.VECTOR:
        return _vector(machine, table, instruction)
    if instruction.op is Op.BROADCAST:
        return _broadcast(table, instruction)
    return _transfer(table, symbols, instruction)


def copy_cost(machine: Machine, copy: SystemCopy) -> Cost:
    """The cost of a copy by the system DMA, one queue for both ways; raises KernelError if the machine has none."""
    table = machine.table()
    size = copy.size_bytes
    if table.sdma_bytes == 0:
        raise KernelError(f"{machine.name} has no system DMA")
    if size < 0:
        raise KernelError(f"size_bytes: {size} is negative")
    crossing = rounded_bytes(limited(size, "bytes"), table.dram_burst)
    on_dram, on_llb, latency = system_copy_cycles(table, size, crossing, int(copy.to_dram))
    queue = (resources.link(table.cores, resources.SYSTEM_DMA), latency)
    if copy.to_dram:
        holds = (
            queue,
            (resources.link(table.cores, resources.LLB_READ), on_llb),
            (resources.dram_write(table), on_dram),
        )
        return Cost(latency, holds, Counts(llb_read_bytes=size, dram_write_bytes=crossing))
    holds = (
        queue,
        (resources.link(table.cores, resources.DRAM_READ), on_dram),
        (resources.llb_write(table), on_llb),
    )
    return Cost(latency, holds, Counts(dram_read_bytes=crossing, llb_write_bytes=size))


def launch_cost(machine: Machine, launch: Launch, instruction: Instruction) -> Cost:
    """The cost of the LAUNCH of a step: of the machine's launch on the cores that it starts, or nothing, or that of a
    barrier. Raises KernelError where the machine runs one kernel at a time and the step is one of several."""
    table = machine.table()
    alone = launch.first_core == 0 and launch.launch_cores is None and not launch.barrier
    if not (machine.concurrent_kernels or alone):
        raise KernelError(f"{machine.name} runs one kernel at a time, and the step is one of several")
    cores = launched_cores(launch, instruction) if machine.concurrent_kernels else range(table.cores)
    for core in cores:
        if not 0 <= core < table.cores:
            raise KernelError(f"core {core}: {machine.name} has cores 0 to {table.cores - 1}")
    hold = table.launch if launch.launch_cores != () else machine.barrier_cycles if launch.barrier else 0
    kinds = (resources.MATRIX, resources.VECTOR)
    holds = tuple((resources.engine(core, kind), hold) for core in cores for kind in kinds)
    return Cost(hold, holds, Counts())


def _contraction(table: MachineTable, instruction: Instruction) -> Cost:
    hold = 0
    parts = []
    for position in range(len(instruction.cores)):
        tile = extents(instruction, position, "images", "rows", "columns", "out_channels")
        cycles, counts = (_conv if instruction.op is Op.CONV else _matmul)(table, instruction, position, tile)
        hold = max(hold, cycles)
        outputs = volume(tile)
        if outputs == 0:
            continue
        sums = outputs * ACCUMULATOR_BYTES
        accumulated = sums if instruction.value("accumulate", position) else 0
        parts.append(counts._replace(accumulator_read_bytes=accumulated, accumulator_write_bytes=sums))
    holds = tuple((resources.engine(core, resources.MATRIX), hold) for core in instruction.cores)
    return Cost(hold + table.matrix_drain, holds, total(parts))


def _conv(
    table: MachineTable, instruction: Instruction, position: int, tile: tuple[int, ...]
) -> tuple[int, Counts]:
    """Cycles of the engine, and counts without the accumulator's, of a CONV on one core."""
    images, rows, columns, channels = tile
    source = extents(instruction, position, "in_rows", "in_columns", "in_channels")
    taps = volume(extents(instruction, position, "kernel_h", "kernel_w"))
    counts = Counts(
        macs=volume((*tile, source[2], taps)),
        l1_read_bytes=volume((images, *source)) * table.element_bytes,
        weights_read_bytes=volume((channels, source[2], taps)) * table.element_bytes,
    )
    return matrix_cycles(table, images, rows, columns, channels, source[2], taps), counts


def _matmul(
    table: MachineTable, instruction: Instruction, position: int, tile: tuple[int, ...]
) -> tuple[int, Counts]:
    """The same of a MATMUL, whose operands are both in l1."""
    images, rows, columns, channels = tile
    (in_channels,) = extents(instruction, position, "in_channels")
    read = images * in_channels * (rows * columns + channels)
    counts = Counts(macs=volume((*tile, in_channels)), l1_read_bytes=read * table.element_bytes)
    return matmul_cycles(table, images, rows, columns, channels, in_channels), counts


def _vector(machine: Machine, table: MachineTable, instruction: Instruction) -> Cost:
    hold = 0
    parts = []
    for position in range(len(instruction.cores)):
        outputs = box(instruction, position)
        elements = volume(outputs)
        if elements == 0:
            continue
        kind = code(VectorKind, instruction.value("kind", position), "kind")
        steps = range(instruction.value("step_count", position))
        codes = [code(StepCode, instruction.value(f"s{i}_op", position), f"s{i}_op") for i in steps]
        operands = [code(OperandKind, instruction.value(f"s{i}_kind", position), f"s{i}_kind") for i in steps]
        work = _work(instruction, position, kind, codes)
        passes = passes_of(machine, work)
        limited(elements * passes, "steps of lanes")
        hold = max(hold, vector_cycles(table, elements, passes))
        views = operands.count(OperandKind.TENSOR) + operands.count(OperandKind.CHANNEL)
        read = elements * views + anchor_reads(instruction, position, kind, outputs)
        parameters = outputs[3] * operands.count(OperandKind.PARAMETER)
        parts.append(
            Counts(
                vector_operations=elements * sum(work.values()),
                l1_read_bytes=read * table.element_bytes,
                l1_write_bytes=elements * table.element_bytes,
                weights_read_bytes=parameters * table.element_bytes,
                accumulator_read_bytes=elements * ACCUMULATOR_BYTES if kind is VectorKind.ACCUMULATOR else 0,
            )
        )
    holds = tuple((resources.engine(core, resources.VECTOR), hold) for core in instruction.cores)
    return Cost(hold, holds, total(parts))


def _work(instruction: Instruction, position: int, kind: VectorKind, steps: Sequence[StepCode]) -> Work:
    taps, size, variant = 1, 1, 0
    if kind in WINDOW_KINDS:
        taps = volume(extents(instruction, position, "kernel_h", "kernel_w"))
    elif kind is VectorKind.CHANNEL_NORM:
        (size,) = extents(instruction, position, "size")
    elif kind in REDUCTION_KINDS:
        (size,) = extents(instruction, position, "group")
    elif kind is VectorKind.NORM:
        variant = instruction.value("center", position)
    elif kind is VectorKind.SOFTMAX and "log" in instruction.fields:
        variant = instruction.value("log", position)
    return vector_work(kind, taps, size, steps, bool(variant))


def _broadcast(table: MachineTable, instruction: Instruction) -> Cost:
    sent: dict[int, int] = {}
    received: dict[int, int] = {}
    exchanged = 0
    for position, core in enumerate(instruction.cores):
        size = volume(box(instruction, position)) * table.element_bytes
        mask = instruction.value("targets", position)
        if mask < 0 or mask >> table.cores:
            raise KernelError(f"targets: {mask:#x} names cores that {table.cores} cores are not")
        # To another place a core may send to itself, at the same pace.
        targets = [
            c for c in range(table.cores) if mask >> c & 1 and (c != core or "dst_addr" in instruction.fields)
        ]
        if size == 0 or not targets:
            continue
        sent[core] = size
        exchanged += size * sum(target != core for target in targets)
        for target in targets:
            received[target] = received.get(target, 0) + size
    most = max([0, *sent.values(), *received.values()])
    hold = table.dma_startup + ceil_div(most, table.exchange)
    holds = [(resources.engine(core, resources.DMA), hold) for core in instruction.cores]
    for core, size in sent.items():
        holds.append((resources.exchange_out(table.cores, core), ceil_div(size, table.exchange)))
    for core, size in received.items():
        holds.append((resources.exchange_in(table.cores, core), ceil_div(size, table.exchange)))
    counts = Counts(
        exchange_bytes=exchanged, l1_read_bytes=sum(sent.values()), l1_write_bytes=sum(received.values())
    )
    return Cost(hold, tuple(holds), counts)


@dataclass(frozen=True, slots=True)
class _Part:
    """What one core moves in a transfer: the memory at the other end, which bytes there, how many, and how many the
    link of that memory moves for them."""

    memory: str
    source: tuple[int, ...]
    size_bytes: int
    link_bytes: int


def _part(table: MachineTable, symbols: Sequence[Symbol], instruction: Instruction, position: int) -> _Part:
    store = instruction.op is Op.STORE
    place: tuple[str, ...]
    if instruction.op is Op.LOADW:
        shape = extents(instruction, position, "rows", "row_bytes")
        size = volume(shape)
        place = ("src_symbol", "src_offset", "src_row_stride")
    elif instruction.op is Op.GATHER:
        shape = box(instruction, position)
        size = volume(shape) * table.element_bytes
        place = ("src_symbol", "src_offset")
    else:
        shape = box(instruction, position)
        size = volume(shape) * table.element_bytes
        place = window_fields("dst" if store else "src")
    where = tuple(instruction.value(name, position) for name in place)
    if not 0 <= where[0] < len(symbols):
        raise KernelError(f"{place[0]}: {where[0]} is not one of the kernel's {len(symbols)} symbols")
    memory = symbols[where[0]].memory
    if memory not in ("dram", "llb"):
        raise KernelError(f"{place[0]}: {memory!r} is not a shared memory")
    if memory == "llb" and table.llb_bytes == 0:
        raise KernelError(f"{place[0]}: the machine has no LLB")
    # Several cores may load the same bytes; no two store them, or are known to gather the same rows.
    alone = store or instruction.op is Op.GATHER
    source = (*where, *shape, position) if alone else (*where, *shape)
    crossing = size if memory == "llb" or size == 0 else _dram_bytes(table, instruction.op, shape, where[2:])
    return _Part(memory, source, size, crossing)


def _dram_bytes(table: MachineTable, op: Op, shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Bytes on the DRAM link, in whole bursts, of one core's part; rows that a GATHER finds are runs of their own."""
    if op is Op.LOADW:
        return bytes_in_bursts(shape[1], [(shape[0], strides[0])], table.dram_burst)
    run = shape[3] * table.element_bytes
    if op is Op.GATHER:
        return volume(shape[:3]) * rounded_bytes(run, table.dram_burst)
    return bytes_in_bursts(run, zip(shape[:3], strides, strict=True), table.dram_burst)


def _transfer(table: MachineTable, symbols: Sequence[Symbol], instruction: Instruction) -> Cost:
    """LOAD, LOADW, STORE and GATHER: the DMA queues of all its cores, and the link of each memory at the other end.

    An instruction that moves nothing still goes through its queues and links.
    """
    store = instruction.op is Op.STORE
    parts = [_part(table, symbols, instruction, position) for position in range(len(instruction.cores))]
    parts = [part for part in parts if part.size_bytes] or parts
    sources = {part.source: part for part in parts}.values()
    most = max(part.size_bytes for part in parts)
    links = {
        "dram": resources.dram_write(table) if store else resources.link(table.cores, resources.DRAM_READ),
        "llb": resources.llb_write(table) if store else resources.link(table.cores, resources.LLB_READ),
    }
    crossing = dict.fromkeys(links, 0)
    for part in sources:
        crossing[part.memory] += part.link_bytes
    hold = 0
    holds: list[Hold] = []
    for memory in sorted({part.memory for part in parts}):
        crossed, in_llb = limited(crossing[memory], "bytes"), int(memory == "llb")
        hold = max(hold, dma_hold(table, most, crossed, in_llb, int(store)))
        holds.append((links[memory], link_cycles(table, crossed, in_llb, int(store))))
    holds += [(resources.engine(core, resources.DMA), hold) for core in instruction.cores]
    counts = _transfer_counts(instruction.op, crossing, parts)
    if instruction.op is Op.GATHER:
        counts = counts._replace(l1_read_bytes=_index_bytes(table, instruction))
    return Cost(hold, tuple(holds), counts)


def _index_bytes(table: MachineTable, instruction: Instruction) -> int:
    """Bytes of the indices of a GATHER, two elements for each pixel."""
    boxes = [box(instruction, position) for position in range(len(instruction.cores))]
    return sum(2 * volume(each[:3]) * table.element_bytes for each in boxes if each[3])


def _transfer_counts(op: Op, crossing: dict[str, int], parts: Sequence[_Part]) -> Counts:
    moved = sum(part.size_bytes for part in parts)
    dram, llb = crossing["dram"], crossing["llb"]
    if op is Op.STORE:
        return Counts(dram_write_bytes=dram, llb_write_bytes=llb, l1_read_bytes=moved)
    if op is Op.LOADW:
        return Counts(dram_read_bytes=dram, llb_read_bytes=llb, weights_write_bytes=moved)
    return Counts(dram_read_bytes=dram, llb_read_bytes=llb, l1_write_bytes=moved)
