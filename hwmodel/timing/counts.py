"""What a program moves and computes, counted: the numbers that energy and the reports are made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Counts(NamedTuple):
    """Bytes read from and written to each memory (all cores together), and operations.

    `dram_*` and `llb_*` are bytes on the links, a broadcast to many cores counted once; a copy between DRAM
    and LLB counts on both. `exchange_bytes` counts each target of a core-to-core copy.
    """

    dram_read_bytes: int = 0
    dram_write_bytes: int = 0
    llb_read_bytes: int = 0
    llb_write_bytes: int = 0
    exchange_bytes: int = 0
    macs: int = 0
    vector_operations: int = 0
    l1_read_bytes: int = 0
    l1_write_bytes: int = 0
    weights_read_bytes: int = 0
    weights_write_bytes: int = 0
    accumulator_read_bytes: int = 0
    accumulator_write_bytes: int = 0

    @property
    def dram_bytes(self) -> int:
        """Bytes on the DRAM link, both ways."""
        return self.dram_read_bytes + self.dram_write_bytes

    @property
    def llb_bytes(self) -> int:
        """Bytes on the LLB's links, both ways."""
        return self.llb_read_bytes + self.llb_write_bytes

    @property
    def off_core_bytes(self) -> int:
        """Bytes on the DRAM and LLB links; the exchange stays on the cores and is not among them."""
        return self.dram_bytes + self.llb_bytes


def total(counts: Iterable[Counts]) -> Counts:
    """The sum of each count."""
    return Counts(*(sum(column) for column in zip(Counts(), *counts, strict=True)))


class InnerCounts(NamedTuple):
    """Bytes read from and written to each inner memory, in the order of `hwmodel.machines.machine_levels.Levels.inner`,
    and
    cycles for which contractions hold their engine beyond what they compute, since a port is busy.

    Empty on a machine without inner memories.
    """

    read_bytes: tuple[int, ...] = ()
    write_bytes: tuple[int, ...] = ()
    port_stall_cycles: int = 0


NO_INNER = InnerCounts()


def total_inner(counts: Iterable[InnerCounts]) -> InnerCounts:
    """The sum of each; those that are empty count as zeros."""
    filled = [count for count in counts if count.read_bytes]
    if not filled:
        return NO_INNER
    reads, writes, stalls = zip(*filled, strict=True)
    return InnerCounts(
        tuple(map(sum, zip(*reads, strict=True))), tuple(map(sum, zip(*writes, strict=True))), sum(stalls)
    )
