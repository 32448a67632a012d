"""Timing of a whole schedule from lowered templates, in one compiled call, one instance a step.

The same recurrence as hwmodel.timing.recurrence, over templates instead of a flat program: all cores of a step work in
lock step and every kernel holds core 0, so an engine is one free time. Every step's program is its kernel merged with
the system copies (prefetched weights, moved tensors) that the schedule places in it, by earliest start; on a tie the
kernel goes first.
Simulating a schedule anew costs less than finding out how much of an earlier one could be kept.
`scheduling.timeline.concurrency` times steps of several instances.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodel.compiled import compiled, compiled_leaf
from hwmodel.machines.machine_table import MachineTable
from scheduling.lowering.rows import (
    C_ENGINE,
    C_EXTERNAL0,
    C_EXTERNAL1,
    C_HOLD,
    C_LATENCY,
    C_LINK,
    C_LINK_HOLD,
    C_OP,
    C_R0,
    C_TENSOR,
    C_WAIT0,
    DMA,
    LINK_DRAM_READ,
    LINK_DRAM_WRITE,
    LINK_LLB_READ,
    LINK_LLB_WRITE,
    OP_LAUNCH,
    OP_STORE,
    SLOT_ENTRIES,
    SYSTEM,
    VECTOR,
)
from scheduling.lowering.tables import Ints
from scheduling.timeline.periods import STATES, jump, jump_stores, repeated
from scheduling.timeline.slices import SPLIT_BATCH, slices, touching
from scheduling.timeline.system_copies import SystemCopies, copy_cycles

# Columns of the arena: what timing needs of a row.
A_ENGINE, A_HOLD, A_LATENCY, A_LINK, A_LINK_HOLD, A_EXTERNAL0, A_EXTERNAL1, A_WAIT0, A_STORES = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    10,
)
ARENA_COLUMNS = 11
LAUNCHES = -2
"""In A_STORES, which else is the local tensor that the row stores the last part of, or -1: the row is a LAUNCH."""


@compiled
def timing_rows(rows: Ints, kept: Ints) -> None:
    """Copy the columns of lowered rows that timing reads into `kept`, (I, ARENA_COLUMNS)."""
    tensors = 0
    for i in range(rows.shape[0]):
        tensors = max(tensors, rows[i, C_TENSOR] + 1)
    stored = np.zeros(tensors, np.int64)
    for i in range(rows.shape[0] - 1, -1, -1):
        kept[i, A_ENGINE] = rows[i, C_ENGINE]
        kept[i, A_HOLD] = rows[i, C_HOLD]
        kept[i, A_LATENCY] = rows[i, C_LATENCY]
        kept[i, A_LINK] = rows[i, C_LINK]
        kept[i, A_LINK_HOLD] = rows[i, C_LINK_HOLD]
        kept[i, A_EXTERNAL0] = rows[i, C_EXTERNAL0]
        kept[i, A_EXTERNAL1] = rows[i, C_EXTERNAL1]
        for wait in range(3):
            kept[i, A_WAIT0 + wait] = rows[i, C_WAIT0 + wait]
        kept[i, A_STORES] = -1
        if rows[i, C_OP] == OP_STORE and rows[i, C_R0] == 0 and stored[rows[i, C_TENSOR]] == 0:
            kept[i, A_STORES] = rows[i, C_TENSOR]
            stored[rows[i, C_TENSOR]] = 1
        elif rows[i, C_OP] == OP_LAUNCH:
            kept[i, A_STORES] = LAUNCHES


UNKNOWN = 1 << 60
"""When something ends that is not placed in program order yet."""


class StepPlan(NamedTuple):
    """What timing reads of an Arrangement, under the names that it has there."""

    subgraph: Ints
    instance: Ints
    slice_start: Ints
    staged_by: Ints


class Times(NamedTuple):
    """Of a simulation of N instances, with C chunks of system copies. Cycles."""

    makespan: int
    finish: Ints  # (N,) of each instance, or of all up to it where each is a step of its own
    copy_of: Ints  # (C,) the instance with which a chunk stands in program order
    copy_position: Ints  # (C,) instructions of that instance before it
    order: Ints  # (instructions and chunks,) instance of each, in program order; empty where they do not interleave


@compiled
def simulate_steps(
    producer: Ints,
    batch: int,
    m: MachineTable,
    choices: Ints,
    steps: StepPlan,
    arena: Ints,
    local_tensor: Ints,
    places: Ints,
    copies: SystemCopies,
    freed_start: Ints,
    freed_by: Ints,
    periodic: bool,
) -> Times:
    """Run the steps of an arrangement of one instance each, and its system copies. `places` (N, 4) has the first row
    and the number of rows of each in the arena, its first local tensor in `local_tensor`, and how many of those are
    its entries. Step k waits for the copies freed_by[freed_start[k] : freed_start[k + 1]], whose places in the LLB it
    writes to.

    `producer` (T,) and `batch` are the network's. With `periodic`, steps that repeat are jumped over
    (scheduling.timeline.periods), which changes no result."""
    layers, tensors = steps.staged_by.shape[0], producer.shape[0]
    most = 1
    for k in range(places.shape[0]):
        most = max(most, places[k, 1])
    step_finish = np.empty(places.shape[0], np.int64)
    copied = np.empty((2, copies.job.shape[0]), np.int64)
    makespan = _run_steps(
        producer, batch, m, choices, steps.subgraph, steps.instance, steps.slice_start, steps.staged_by, arena,
        local_tensor, places, copies.when, copies.layer, copies.first_slice, copies.slice_count, copies.to_dram,
        copies.job, copies.size_bytes, copies.last, freed_start, freed_by, periodic, np.zeros(STATES, np.int64),
        np.zeros(8, np.int64), np.array([4, 5, 6, 7]), np.zeros(steps.slice_start[tensors], np.int64),
        np.zeros(layers, np.int64), np.full(copies.when.shape[0], UNKNOWN, np.int64), np.empty(most, np.int64),
        np.zeros(SLOT_ENTRIES + 2 * (tensors + layers), np.int64), step_finish, copied,
    )  # fmt: skip
    return Times(makespan, step_finish, copied[0], copied[1], np.empty(0, np.int64))


@compiled_leaf
def _wait_for_entries(
    producer: Ints,
    batch: int,
    choices: Ints,
    s: int,
    instance: int,
    slice_start: Ints,
    staged_by: Ints,
    local_tensor: Ints,
    locals_from: int,
    entries: int,
    ready: Ints,
    staged_ready: Ints,
    external: Ints,
) -> None:
    """When what an instance of sub-graph s reads is there: its entries, the first local tensors, and then the staged
    weights of its layers, into `external` from SLOT_ENTRIES on."""
    first, stop = choices[s, 0], choices[s, 1]
    ib = instance // slices(choices, s)
    for e in range(entries):
        t = local_tensor[locals_from + e]
        made_by = producer[t]
        if made_by < 0:
            external[SLOT_ENTRIES + e] = ready[slice_start[t]]
            continue
        external[SLOT_ENTRIES + e] = 0
        if first <= made_by < stop:  # a copy, made within the kernel
            continue
        q = -1
        for candidate in range(choices.shape[0]):
            if choices[candidate, 0] <= made_by < choices[candidate, 1]:
                q = candidate
                break
        a, b = touching(ib, choices[s, SPLIT_BATCH], choices[q, SPLIT_BATCH], batch)
        for i in range(a * slices(choices, q), b * slices(choices, q)):
            external[SLOT_ENTRIES + e] = max(external[SLOT_ENTRIES + e], ready[slice_start[t] + i])
    for j in range(stop - first):
        by = staged_by[first + j]
        external[SLOT_ENTRIES + entries + j] = staged_ready[by] if by >= 0 else 0


@compiled_leaf
def _latest_end(ends: Ints, users: Ints, low: int, high: int) -> int:
    """The last end of users[low:high], 0 of none."""
    latest = 0
    for i in range(low, high):
        latest = max(latest, ends[users[i]])
    return latest


@compiled_leaf
def _run_steps(
    producer: Ints,
    batch: int,
    m: MachineTable,
    choices: Ints,
    subgraph: Ints,
    instance: Ints,
    slice_start: Ints,
    staged_by: Ints,
    arena: Ints,
    local_tensor: Ints,
    places: Ints,
    copy_when: Ints,
    copy_layer: Ints,
    first_slice: Ints,
    slice_count: Ints,
    to_dram: Ints,
    job_of: Ints,
    size_bytes: Ints,
    last_chunk: Ints,
    freed_start: Ints,
    freed_by: Ints,
    periodic: bool,
    states: Ints,
    free: Ints,
    link_slot: Ints,
    ready: Ints,
    staged_ready: Ints,
    copy_end: Ints,
    finish: Ints,
    external: Ints,
    step_finish: Ints,
    copied: Ints,
) -> int:
    """The makespan; fills in `step_finish`, and `copied` (step and position of each chunk). `states` is what
    scheduling.timeline.periods keeps. The other arrays from `free` on are scratch: when resources, slices of tensors,
    weights, copies and rows are free, ready or done, and what rows wait for outside of their instance."""
    if m.dram_shared:
        link_slot[1] = 4
    if m.llb_shared:
        link_slot[3] = 6
    steps, jobs, chunks = places.shape[0], copy_when.shape[0], job_of.shape[0]
    before_compute, before_dma, before_all, makespan = 0, 0, 0, 0
    job, chunk, stop_chunk = 0, 0, 0
    periodic = periodic and freed_by.shape[0] == 0  # steps that repeat must wait for nothing else
    after_jump = 0
    for k in range(steps + 1):
        if k < after_jump:
            continue
        # Copies of this step are placed in it; until then nobody knows when they end.
        while job < jobs and copy_when[job] <= k:
            if copy_layer[job] >= 0:
                staged_ready[copy_layer[job]] = UNKNOWN
            for i in range(slice_count[job]):
                ready[first_slice[job] + i] = UNKNOWN
            while stop_chunk < chunks and job_of[stop_chunk] == job:
                stop_chunk += 1
            job += 1
        offset, length, locals_from, entries, s, freed = 0, 0, 0, 0, 0, 0
        if k < steps:
            offset, length, locals_from, entries = places[k, 0], places[k, 1], places[k, 2], places[k, 3]
            s = subgraph[k]
            external[0] = before_compute
            external[1] = before_dma
            _wait_for_entries(
                producer, batch, choices, s, instance[k], slice_start, staged_by, local_tensor, locals_from, entries,
                ready, staged_ready, external,
            )  # fmt: skip
            freed = _latest_end(copy_end, freed_by, freed_start[k], freed_start[k + 1])
        if periodic and k < steps and chunk == stop_chunk:
            quiet_until = copy_when[job] if job < jobs else steps
            over, period, cycles = repeated(
                k, quiet_until, places, subgraph, instance, slices(choices, s), free, before_compute, before_dma,
                external, SLOT_ENTRIES + entries + choices[s, 1] - choices[s, 0], states,
            )  # fmt: skip
            if over > 0:
                for row in range(offset, offset + length):
                    if arena[row, A_STORES] >= 0:
                        stored = local_tensor[locals_from + arena[row, A_STORES]]
                        jump_stores(k, over, period, cycles, instance, slice_start[stored], ready)
                moved = jump(k, over, period, cycles, free, step_finish)
                before_compute += moved
                before_dma += moved
                before_all += moved
                after_jump = k + over
                makespan = max(makespan, step_finish[after_jump - 1])
                continue
        last_compute, last_dma, last_all = before_compute, before_dma, before_all
        launched = False
        i = 0
        while i < length or chunk < stop_chunk:
            row = offset + i
            body_start = UNKNOWN
            engine, link = 0, -1
            if i < length:
                engine = arena[row, A_ENGINE]
                link = arena[row, A_LINK]
                body_start = free[engine]
                if arena[row, A_EXTERNAL0] >= 0:
                    body_start = max(body_start, external[arena[row, A_EXTERNAL0]])
                if arena[row, A_EXTERNAL1] >= 0:
                    body_start = max(body_start, external[arena[row, A_EXTERNAL1]])
                for w in range(A_WAIT0, A_WAIT0 + 3):
                    if arena[row, w] >= 0:
                        body_start = max(body_start, finish[arena[row, w]])
                if link >= 0:
                    body_start = max(body_start, free[link_slot[link]])
                if arena[row, A_STORES] == LAUNCHES:  # a launch holds the vector engine too
                    body_start = max(body_start, free[VECTOR])
                if not launched:
                    body_start = max(body_start, freed)
            if chunk < stop_chunk:
                done = job_of[chunk]
                on_dram, on_llb, busy = copy_cycles(m, size_bytes[chunk], to_dram[done])
                dram_slot = link_slot[LINK_DRAM_WRITE if to_dram[done] else LINK_DRAM_READ]
                llb_slot = link_slot[LINK_LLB_READ if to_dram[done] else LINK_LLB_WRITE]
                begin = max(max(free[SYSTEM], before_all), max(free[dram_slot], free[llb_slot]))
                if begin < body_start:
                    free[SYSTEM] = begin + busy
                    free[dram_slot] = begin + on_dram
                    free[llb_slot] = begin + on_llb
                    copied[0, chunk] = min(k, steps - 1)
                    copied[1, chunk] = i if k < steps else places[steps - 1, 1]
                    last_all = max(last_all, begin + busy)
                    if last_chunk[chunk] == 1:
                        copy_end[done] = begin + busy
                        if copy_layer[done] >= 0:
                            staged_ready[copy_layer[done]] = begin + busy
                        for at in range(slice_count[done]):
                            ready[first_slice[done] + at] = begin + busy
                        if k < steps:
                            _wait_for_entries(
                                producer, batch, choices, s, instance[k], slice_start, staged_by, local_tensor,
                                locals_from, entries, ready, staged_ready, external,
                            )  # fmt: skip
                            freed = _latest_end(copy_end, freed_by, freed_start[k], freed_start[k + 1])
                    chunk += 1
                    continue
            hold = arena[row, A_HOLD]
            end = body_start + arena[row, A_LATENCY]
            free[engine] = body_start + hold
            if arena[row, A_STORES] == LAUNCHES:
                free[VECTOR] = body_start + hold
                launched = True
            if link >= 0:
                free[link_slot[link]] = body_start + arena[row, A_LINK_HOLD]
            finish[i] = end
            if engine == DMA:
                last_dma = max(last_dma, end)
            else:
                last_compute = max(last_compute, end)
            stored = arena[row, A_STORES]
            if stored >= 0:
                ready[slice_start[local_tensor[locals_from + stored]] + instance[k]] = end
            i += 1
        before_compute, before_dma = last_compute, last_dma
        before_all = max(last_compute, last_dma)
        if k < steps:
            step_finish[k] = before_all
        makespan = max(makespan, max(last_all, before_all))
    return makespan
