"""What the instances of one step do to the cores and links that they share."""

from __future__ import annotations

from hwmodel.compiled import compiled_leaf
from hwmodel.machines.machine_table import MachineTable
from scheduling.lowering.rows import (
    LINK_DRAM_READ,
    LINK_DRAM_WRITE,
    LINK_LLB_READ,
    LINK_LLB_WRITE,
    MATRIX,
    VECTOR,
)
from scheduling.lowering.tables import Ints
from scheduling.timeline.system_copies import SystemCopies, copy_cycles

LOOK_AGAIN = -1
"""In place of a start: not known, since what it depends on has changed."""


@compiled_leaf
def line_up(
    low: int,
    high: int,
    first_core: Ints,
    cores: Ints,
    latest_on: Ints,
    link_start: Ints,
    follower: Ints,
    blockers: Ints,
) -> None:
    """Who follows whom on the cores of a step of instances low to high: fills in `follower`, counts `blockers`, and
    leaves in `latest_on` the last instance on each core, -1 where there is none."""
    for core in range(latest_on.shape[0]):
        latest_on[core] = -1
    for k in range(low, high):
        for c in range(cores[k]):
            core = first_core[k] + c
            before = latest_on[core]
            if before >= 0:
                follower[link_start[before] + core - first_core[before]] = k
                blockers[k] += 1
            latest_on[core] = k


@compiled_leaf
def launch_step(
    start: int, hold: int, latest_on: Ints, core_free: Ints, active: Ints, actives: int, engine_free: Ints
) -> int:
    """Launch a step on all of its cores, at `start` or when their matrix and vector engines are free; returns when."""
    for core in range(latest_on.shape[0]):
        if latest_on[core] >= 0:
            start = max(start, max(core_free[core, MATRIX], core_free[core, VECTOR]))
    for core in range(latest_on.shape[0]):
        if latest_on[core] >= 0:
            core_free[core, MATRIX] = start + hold
            core_free[core, VECTOR] = start + hold
    for a in range(actives):
        engine_free[active[a], MATRIX] = start + hold
        engine_free[active[a], VECTOR] = start + hold
    return start


@compiled_leaf
def give_back(
    k: int,
    first_core: Ints,
    cores: Ints,
    engine_free: Ints,
    last_compute: Ints,
    last_dma: Ints,
    core_free: Ints,
    compute_done: Ints,
    dma_done: Ints,
) -> None:
    """Instance k has been placed: its cores are as it leaves them."""
    for c in range(cores[k]):
        core = first_core[k] + c
        for e in range(3):
            core_free[core, e] = engine_free[k, e]
        compute_done[core] = max(compute_done[core], last_compute[k])
        dma_done[core] = max(dma_done[core], last_dma[k])


@compiled_leaf
def copy_start(
    copies: SystemCopies, chunk: int, system_free: int, before: int, link_slot: Ints, link_free: Ints
) -> int:
    """When a chunk of a system copy can start that waits for what ends at `before`."""
    to_dram = copies.to_dram[copies.job[chunk]] == 1
    dram = link_slot[LINK_DRAM_WRITE if to_dram else LINK_DRAM_READ]
    llb = link_slot[LINK_LLB_READ if to_dram else LINK_LLB_WRITE]
    return int(max(max(system_free, before), max(link_free[dram], link_free[llb])))


@compiled_leaf
def place_copy(
    m: MachineTable,
    copies: SystemCopies,
    chunk: int,
    begin: int,
    link_slot: Ints,
    link_free: Ints,
    copy_end: Ints,
) -> int:
    """Place a chunk of a system copy at `begin`; returns when it ends."""
    job = copies.job[chunk]
    to_dram = copies.to_dram[job]
    on_dram, on_llb, hold = copy_cycles(m, copies.size_bytes[chunk], to_dram)
    link_free[link_slot[LINK_DRAM_WRITE if to_dram else LINK_DRAM_READ]] = begin + on_dram
    link_free[link_slot[LINK_LLB_READ if to_dram else LINK_LLB_WRITE]] = begin + on_llb
    if copies.last[chunk] == 1:
        copy_end[job] = begin + hold
    return int(begin + hold)


@compiled_leaf
def take_cores(
    k: int,
    first_core: Ints,
    cores: Ints,
    core_free: Ints,
    compute_done: Ints,
    dma_done: Ints,
    engine_free: Ints,
    compute_wait: Ints,
    dma_wait: Ints,
    earliest: Ints,
) -> None:
    """Instance k may use its cores from now on."""
    for c in range(cores[k]):
        core = first_core[k] + c
        for e in range(3):
            engine_free[k, e] = max(engine_free[k, e], core_free[core, e])
        compute_wait[k] = max(compute_wait[k], compute_done[core])
        dma_wait[k] = max(dma_wait[k], dma_done[core])
    earliest[k] = LOOK_AGAIN
