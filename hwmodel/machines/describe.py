"""A machine's figures as a page of text: peak rates, capacities, balance points, and what is assumed of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from graph.primitives import VectorClass
from hwmodel.machines.machine import Machine
from hwmodel.machines.machine_levels import Buffer, Port, Registers
from hwmodel.machines.machine_parts import DramLink, Link, Matrix

Line = tuple[str, str]
"""What is described, and the words; nothing where it goes on from the line before."""


class Balance(NamedTuple):
    """A link, what it moves in all (bytes a cycle of the chip), and for how many MACs a byte the matrix engines wait
    for it no longer than it waits for them."""

    link: str
    bytes_per_cycle: float
    macs_per_byte: float


def describe(machine: Machine) -> str:
    """A page about a machine: rates of the whole chip, and capacities and links of a cluster or core."""
    lines = [
        *_head(machine),
        *_engines(machine),
        *_memories(machine),
        *_links(machine),
        *_balance(machine),
        *_energy(machine),
        *((("assumed" if i == 0 else ""), text) for i, text in enumerate(machine.assumed)),
    ]
    return "\n".join(f"{name:<12}{text}".rstrip() for name, text in lines)


def cores_text(machine: Machine) -> str:
    """How many cores the chip has, such as `4 clusters of 8 cores`."""
    cores = f"{machine.cores} core{'s' if machine.cores > 1 else ''}"
    return f"{machine.clusters} clusters of {cores}" if machine.clusters > 1 else cores


def peak_macs_per_second(machine: Machine) -> float:
    """Multiply-accumulates of all matrix engines of the chip."""
    return machine.clusters * machine.cores * machine.peak_macs_per_cycle * machine.clock_ghz * 1e9


def balance_points(machine: Machine) -> list[Balance]:
    """Of reads of DRAM, of the LLB where there is one, and of the cores' DMA queues, the slowest link first."""
    links, clusters = machine.links, machine.clusters
    rates: dict[str, float] = {"DRAM": float(clusters * links.dram.share * links.dram.read_bytes_per_cycle)}
    if links.llb is not None:
        rates["LLB"] = clusters * links.llb.read_bytes_per_cycle
    rates["DMA of all cores"] = clusters * machine.cores * machine.dma.bytes_per_cycle
    macs = clusters * machine.cores * machine.peak_macs_per_cycle
    found = [Balance(name, rate, macs / rate) for name, rate in rates.items()]
    return sorted(found, key=lambda point: point.bytes_per_cycle)


def _head(m: Machine) -> Iterator[Line]:
    yield "machine", m.name
    yield "", " ".join(m.description.split())
    yield "cores", cores_text(m)
    yield "clock", f"{m.clock_ghz:g} GHz, {m.element}"


def _engines(m: Machine) -> Iterator[Line]:
    peak = peak_macs_per_second(m)
    yield "matrix", f"{m.peak_macs_per_cycle} MACs a cycle and core, {peak / 1e12:.4g} TMAC/s in all"
    yield "", _mapping(m.matrix)
    yield "", f"{_cycles(m.matrix.issue_cycles)} to issue, {m.matrix.drain_cycles} to drain"
    lanes = m.clusters * m.cores * m.vector.lanes * m.clock_ghz
    yield "vector", f"{m.vector.lanes} lanes a core, {m.peak_macs_per_cycle / m.vector.lanes:.4g} MACs a lane"
    by_cycles = sorted(VectorClass, key=lambda kind: m.vector.cycles[kind])
    for cycles, kinds in groupby(by_cycles, key=lambda kind: m.vector.cycles[kind]):
        names = " ".join(kind.value for kind in kinds)
        unit = "a cycle" if cycles == 1 else f"{cycles} cycles"
        yield "", f"{lanes / cycles / 1000:.4g} T operations/s in all where one takes {unit}: {names}"
    kernels = "kernels side by side" if m.concurrent_kernels else "one kernel at a time"
    yield "launch", f"{_cycles(m.launch_cycles)}, {_microseconds(m, m.launch_cycles)}; {kernels}"
    if m.concurrent_kernels:
        yield "barrier", f"{_cycles(m.barrier_cycles)}, {_microseconds(m, m.barrier_cycles)}"


def _mapping(matrix: Matrix) -> str:
    taps = "taps one by one" if matrix.convolution == "per_tap" else "taps by im2col"
    if matrix.systolic is not None:
        array = matrix.systolic
        folds = "overlapping" if array.overlap_folds else "one after the other"
        stays = array.dataflow.replace("_", " ")
        return f"systolic array of {array.rows} x {array.columns}, {stays}, folds {folds}; {taps}"
    factors = [
        f"{factor} {name.replace('_', ' ')}"
        for name, factor in matrix.spatial.model_dump().items()
        if factor > 1
    ]
    return f"unrolled: {' x '.join(factors) or 'nothing'}; {taps}"


def _memories(m: Machine) -> Iterator[Line]:
    private = {"L1": m.memories.l1, "weights": m.memories.weights, "accumulator": m.memories.accumulator}
    ports = {} if m.levels is None else {"L1": m.levels.l1, "weights": m.levels.weights}
    for name, memory in private.items():
        yield name, f"{_size(memory.bytes)} a core{_words(ports[name]) if name in ports else ''}"
    yield "LLB", "none" if m.memories.llb is None else f"{_size(m.memories.llb.bytes)} a cluster"
    for level in () if m.levels is None else m.levels.inner:
        if isinstance(level, Registers):
            size = f"{_size(level.bytes)} for each in use, words of {level.word_bits} bits"
        else:
            size = f"{_size(level.bytes)} a core{_words(level)}"
        yield "inner", f"{level.name}: {' and '.join(level.operands)}, {size}"
    dram = m.memories.dram
    if dram is not None and dram.bytes is not None:
        yield "DRAM", f"{_size(dram.bytes)} a cluster"
    if dram is not None and dram.burst_bytes > 1:
        yield "DRAM", f"bursts of {_size(dram.burst_bytes)}"
    if dram is not None and dram.latency_cycles:
        yield (
            "DRAM",
            f"{_cycles(dram.latency_cycles)} to the first byte, {_microseconds(m, dram.latency_cycles)}",
        )


def _links(m: Machine) -> Iterator[Line]:
    def rate(bytes_per_cycle: int) -> str:
        unit = "byte" if bytes_per_cycle == 1 else "bytes"
        return f"{bytes_per_cycle} {unit} a cycle, {bytes_per_cycle * m.clock_ghz:.4g} GB/s"

    def both(name: str, link: Link) -> Iterator[Line]:
        yield f"{name} read", f"{rate(link.read_bytes_per_cycle)} a cluster"
        shared = ", shared with reads" if link.shared else ""
        yield f"{name} write", f"{rate(link.write_bytes_per_cycle)} a cluster{shared}"
        if isinstance(link, DramLink) and link.share < 1:
            read, write = (float(link.share * peak) for peak in link.rates)
            each = f"{read:.4g} bytes a cycle of reads, {write:.4g} of writes"
            yield "", f"sustained: {link.sustained:.4g} of these, {each}"

    yield from both("DRAM", m.links.dram)
    if m.links.llb is not None:
        yield from both("LLB", m.links.llb)
    yield "exchange", f"{rate(m.links.exchange.bytes_per_cycle)} a port"
    yield "DMA", f"{rate(m.dma.bytes_per_cycle)} a core, {_cycles(m.dma.startup_cycles)} to start"
    copies = m.system_dma
    started = (
        "" if copies is None else f"{rate(copies.bytes_per_cycle)}, {_cycles(copies.startup_cycles)} to start"
    )
    yield "system DMA", started or "none"


def _balance(m: Machine) -> Iterator[Line]:
    for i, point in enumerate(balance_points(m)):
        rate = point.bytes_per_cycle * m.clock_ghz
        words = f"{point.macs_per_byte:.4g} MACs a byte of {point.link}, {rate:.4g} GB/s in all"
        yield "balance" if i == 0 else "", words


def _energy(m: Machine) -> Iterator[Line]:
    """From DRAM inwards, by the byte, so that memories with words of different sizes compare."""
    prices = m.energy
    yield "energy", f"{prices.mac_pj:.4g} pJ a MAC, {prices.vector_op_pj:.4g} pJ a vector operation"
    shared = [("DRAM", prices.dram_read_pj_per_byte, prices.dram_write_pj_per_byte)]
    if prices.llb_read_pj_per_byte is not None and prices.llb_write_pj_per_byte is not None:
        shared.append(("LLB", prices.llb_read_pj_per_byte, prices.llb_write_pj_per_byte))
    private = [
        ("L1", prices.l1_read_pj_per_byte, prices.l1_write_pj_per_byte),
        ("weights", prices.weights_read_pj_per_byte, prices.weights_write_pj_per_byte),
        ("accumulator", prices.accumulator_read_pj_per_byte, prices.accumulator_write_pj_per_byte),
    ]
    inner = () if m.levels is None else m.levels.inner[::-1]
    within = [(level.name, level.read_pj_per_byte, level.write_pj_per_byte) for level in inner]
    for name, read, written in (*shared, *private, *within):
        yield "", f"{read:.4g} pJ a byte read of {name}, {written:.4g} written"
    yield "", f"{prices.exchange_pj_per_byte:.4g} pJ a byte from core to core"


def _words(port: Port | Buffer) -> str:
    return f", words of {port.word_bits} bits, {port.ports} port{'s' if port.ports > 1 else ''}"


def _cycles(count: int) -> str:
    return f"{count} cycle{'' if count == 1 else 's'}"


def _microseconds(m: Machine, cycles: int) -> str:
    count = f"{cycles / m.clock_ghz / 1000:.4g}"
    return f"{count} microsecond{'' if count == '1' else 's'}"


def _size(count: int) -> str:
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit and count % (unit >> 2) == 0:
            return f"{count / unit:g} {name}"
    return f"{count} byte{'s' if count > 1 else ''}"
