"""How long kernels keep the links to the LLB and to DRAM busy: what limits many of them side by side."""

from __future__ import annotations

from typing import NamedTuple

from hwmodel.machines.machine_table import MachineTable
from hwmodel.timing.costs import dram_rate


class LinkCycles(NamedTuple):
    """Cycles of each link; where reads and writes share one, they are all among the reads."""

    dram_read: int
    dram_write: int
    llb_read: int
    llb_write: int


NO_LINKS = LinkCycles(0, 0, 0, 0)


def link_cycles(
    m: MachineTable, dram_read: int, dram_write: int, llb_read: int, llb_write: int
) -> LinkCycles:
    """Of bytes that cross the links; bursts left out."""
    found = [
        dram_read / dram_rate(m, 0),
        dram_write / dram_rate(m, 1),
        llb_read / m.llb_read if m.llb_read else 0.0,
        llb_write / m.llb_write if m.llb_write else 0.0,
    ]
    for reads, shared in ((0, m.dram_shared), (2, m.llb_shared)):
        if shared:
            found[reads : reads + 2] = [found[reads] + found[reads + 1], 0.0]
    return LinkCycles(*(int(cycles) for cycles in found))
