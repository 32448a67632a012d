"""Numbers of the resources that instructions hold: engines of cores, link directions and exchange ports.

Core c has its matrix engine at 3c, vector engine at 3c + 1 and DMA queue at 3c + 2. From base = 3 x cores
on: reads and writes of the DRAM link, reads and writes of the LLB link, the system DMA (one queue for copies both
ways), then for every core its exchange port outwards and inwards. A link whose directions are one has only the
number of its reads in use.
"""

from __future__ import annotations

from hwmodel.machines.machine_table import MachineTable

MATRIX, VECTOR, DMA = 0, 1, 2
"""Engines of a core: core c has engine e at 3c + e."""

DRAM_READ, DRAM_WRITE, LLB_READ, LLB_WRITE, SYSTEM_DMA, EXCHANGE = range(6)
"""Positions from base on; EXCHANGE + 2c is core c's port outwards, the next one its port inwards."""

_ENGINES = ("matrix", "vector", "dma")
_LINKS = ("dram read", "dram write", "llb read", "llb write", "system dma")


def resource_count(cores: int) -> int:
    """How many resources a cluster of `cores` cores has."""
    return 5 * cores + EXCHANGE


def engine(core: int, kind: int) -> int:
    """The number of an engine (MATRIX, VECTOR or DMA) of a core."""
    return 3 * core + kind


def link(cores: int, kind: int) -> int:
    """The number of a link direction or of the system DMA (DRAM_READ to SYSTEM_DMA)."""
    return 3 * cores + kind


def dram_write(m: MachineTable) -> int:
    """The number of what writes to DRAM hold."""
    return link(m.cores, DRAM_READ if m.dram_shared else DRAM_WRITE)


def llb_write(m: MachineTable) -> int:
    """The number of what writes to the LLB hold."""
    return link(m.cores, LLB_READ if m.llb_shared else LLB_WRITE)


def exchange_out(cores: int, core: int) -> int:
    """The number of a core's exchange port outwards."""
    return 3 * cores + EXCHANGE + 2 * core


def exchange_in(cores: int, core: int) -> int:
    """The number of a core's exchange port inwards."""
    return exchange_out(cores, core) + 1


def resource_name(index: int, cores: int) -> str:
    """What resource `index` is called in tables and traces; raises IndexError if there is none."""
    if not 0 <= index < resource_count(cores):
        raise IndexError(f"resource {index}: a cluster of {cores} cores has 0 to {resource_count(cores) - 1}")
    if index < 3 * cores:
        return f"core {index // 3} {_ENGINES[index % 3]}"
    position = index - 3 * cores
    if position < EXCHANGE:
        return _LINKS[position]
    core, inwards = divmod(position - EXCHANGE, 2)
    return f"core {core} exchange {'in' if inwards else 'out'}"
