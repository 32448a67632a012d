"""Timing of a whole schedule from lowered templates, in one compiled call, one instance a step.

The same recurrence as hwmodel.timing, over templates instead of a flat program: all cores of a step work in lock
step and every kernel holds core 0, so an engine is one free time. Every step's program is its kernel merged with the
system copies (prefetched weights) that the schedule places in it, by earliest start; on a tie the kernel goes first.
Simulating a schedule anew costs less than finding out how much of an earlier one could be kept.
`scheduling.concurrency` times steps of several instances.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodel.compiled import compiled, compiled_leaf
from hwmodel.costs import ceil_div
from hwmodel.machine_table import MachineTable
from scheduling.arrangement import SPLIT_BATCH, slices, touching
from scheduling.bursts import in_bursts
from scheduling.periods import STATES, jump, jump_stores, repeated
from scheduling.rows import (
    C_ENGINE,
    C_EXTERNAL0,
    C_EXTERNAL1,
    C_HOLD,
    C_LATENCY,
    C_LINK,
    C_LINK_HOLD,
    C_OP,
    C_TENSOR,
    C_WAIT0,
    DMA,
    LINK_DRAM_READ,
    LINK_LLB_WRITE,
    OP_LAUNCH,
    OP_STORE,
    SLOT_ENTRIES,
    SYSTEM,
    VECTOR,
)
from scheduling.tables import Ints

COPY_CHUNK_BYTES = 128 * 1024
"""System copies are cut so that one never keeps a kernel from the DRAM link for long."""

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
        if rows[i, C_OP] == OP_STORE and stored[rows[i, C_TENSOR]] == 0:
            kept[i, A_STORES] = rows[i, C_TENSOR]
            stored[rows[i, C_TENSOR]] = 1
        elif rows[i, C_OP] == OP_LAUNCH:
            kept[i, A_STORES] = LAUNCHES


class StepPlan(NamedTuple):
    """What timing reads of an Arrangement, under the names that it has there."""

    subgraph: Ints
    instance: Ints
    slice_start: Ints
    staged_by: Ints
    copy_when: Ints
    copy_layer: Ints


class Times(NamedTuple):
    """Of a simulation of N instances. Cycles."""

    makespan: int
    finish: Ints  # (N,) of each instance, or of all up to it where each is a step of its own
    copy_of: Ints  # (copies,) the instance with which the copy stands in program order
    copy_position: Ints  # (copies,) instructions of that instance before it
    copy_layer: Ints  # (copies,)
    order: Ints  # (instructions and copies,) instance of each, in program order; empty where they do not interleave


@compiled
def simulate_steps(
    producer: Ints,
    batch: int,
    weight_bytes: Ints,
    m: MachineTable,
    choices: Ints,
    steps: StepPlan,
    arena: Ints,
    local_tensor: Ints,
    places: Ints,
    periodic: bool,
) -> Times:
    """Run the steps of an arrangement of one instance each. `places` (N, 4) has the first row and the number of rows of
    each in the arena, its first local tensor in `local_tensor`, and how many of those are its entries.

    `producer` (T,) and `batch` are the network's, `weight_bytes` (L,) the sizes of its layers' weights. With
    `periodic`, steps that repeat are jumped over (scheduling.periods), which changes no result."""
    layers, tensors = weight_bytes.shape[0], producer.shape[0]
    copies = 0
    for layer in steps.copy_layer:
        copies += ceil_div(weight_bytes[layer], COPY_CHUNK_BYTES)
    most = 1
    for k in range(places.shape[0]):
        most = max(most, places[k, 1])
    step_finish = np.empty(places.shape[0], np.int64)
    copied = np.empty((3, copies), np.int64)
    makespan, placed = _run_steps(
        producer, batch, weight_bytes, m, choices, steps.subgraph, steps.instance, steps.slice_start, steps.staged_by,
        steps.copy_when, steps.copy_layer, arena, local_tensor, places, periodic, np.zeros(STATES, np.int64),
        np.zeros(8, np.int64), np.array([4, 5, 6, 7]), np.zeros(steps.slice_start[tensors], np.int64),
        np.zeros(layers, np.int64), np.zeros(layers, np.int64), np.empty(most, np.int64),
        np.empty((2, copies + 1), np.int64), np.zeros(SLOT_ENTRIES + tensors + layers, np.int64), step_finish, copied,
    )  # fmt: skip
    return Times(
        makespan,
        step_finish,
        copied[0][:placed],
        copied[1][:placed],
        copied[2][:placed],
        np.empty(0, np.int64),
    )


@compiled_leaf
def _run_steps(
    producer: Ints,
    batch: int,
    weight_bytes: Ints,
    m: MachineTable,
    choices: Ints,
    subgraph: Ints,
    instance: Ints,
    slice_start: Ints,
    staged_by: Ints,
    copy_when: Ints,
    copy_layer: Ints,
    arena: Ints,
    local_tensor: Ints,
    places: Ints,
    periodic: bool,
    states: Ints,
    free: Ints,
    link_slot: Ints,
    ready: Ints,
    staged_ready: Ints,
    pending: Ints,
    finish: Ints,
    queue: Ints,
    external: Ints,
    step_finish: Ints,
    copied: Ints,
) -> tuple[int, int]:
    """(makespan, copies placed); fills in `step_finish`, and `copied` (step, position, layer of each copy). `states` is
    what scheduling.periods keeps. The other arrays from `free` on are scratch: when resources, slices of tensors,
    weights and rows are free or ready, whether a layer's weights are still to be copied in this step, (bytes, layer) of
    the copies that wait, what rows wait for outside of their instance."""
    if m.dram_shared:
        link_slot[1] = 4
    if m.llb_shared:
        link_slot[3] = 6
    layers = weight_bytes.shape[0]
    placed = 0
    before_compute, before_dma, before_all, makespan = 0, 0, 0, 0
    cursor = 0
    after_jump = 0
    for k in range(places.shape[0]):
        if k < after_jump:
            continue
        offset, length, locals_from, entries = places[k, 0], places[k, 1], places[k, 2], places[k, 3]
        s = subgraph[k]
        first, stop = choices[s, 0], choices[s, 1]
        ib = instance[k] // slices(choices, s)
        external[0] = before_compute
        external[1] = before_dma
        for e in range(entries):
            t = local_tensor[locals_from + e]
            external[SLOT_ENTRIES + e] = 0
            made_by = producer[t]
            if made_by < 0:
                continue
            q = -1
            for candidate in range(choices.shape[0]):
                if choices[candidate, 0] <= made_by < choices[candidate, 1]:
                    q = candidate
                    break
            a, b = touching(ib, choices[s, SPLIT_BATCH], choices[q, SPLIT_BATCH], batch)
            for i in range(a * slices(choices, q), b * slices(choices, q)):
                external[SLOT_ENTRIES + e] = max(external[SLOT_ENTRIES + e], ready[slice_start[t] + i])
        waiting = 0
        for layer in range(layers):
            pending[layer] = 0
        while cursor < copy_when.shape[0] and copy_when[cursor] == k:
            layer = copy_layer[cursor]
            pending[layer] = 1
            left = weight_bytes[layer]
            while left > 0:
                queue[0, waiting] = min(left, COPY_CHUNK_BYTES)
                queue[1, waiting] = layer
                left -= queue[0, waiting]
                waiting += 1
            cursor += 1
        # Weights that are copied in this very step are waited for below, once they have been placed.
        for j in range(stop - first):
            by = staged_by[first + j]
            external[SLOT_ENTRIES + entries + j] = staged_ready[by] if by >= 0 else 0
        if periodic and waiting == 0:
            quiet_until = copy_when[cursor] if cursor < copy_when.shape[0] else places.shape[0]
            over, period, cycles = repeated(
                k, quiet_until, places, subgraph, instance, slices(choices, s), free, before_compute, before_dma,
                external, SLOT_ENTRIES + entries + stop - first, states,
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
        next_copy = 0
        last_compute, last_dma, last_all = before_compute, before_dma, before_all
        i = 0
        while i < length or next_copy < waiting:
            row = offset + i
            body_start = 1 << 60
            engine, link = 0, -1
            if i < length:
                engine = arena[row, A_ENGINE]
                link = arena[row, A_LINK]
                body_start = free[engine]
                if arena[row, A_EXTERNAL0] >= 0:
                    body_start = max(body_start, external[arena[row, A_EXTERNAL0]])
                for w in range(A_WAIT0, A_WAIT0 + 3):
                    if arena[row, w] >= 0:
                        body_start = max(body_start, finish[arena[row, w]])
                if link >= 0:
                    body_start = max(body_start, free[link_slot[link]])
                slot = arena[row, A_EXTERNAL1]
                if slot >= 0:
                    layer = first + slot - SLOT_ENTRIES - entries
                    # Where this very step still has to copy the weights, the copy comes first.
                    copying = pending[staged_by[layer]] == 1
                    body_start = 1 << 60 if copying else max(body_start, external[slot])
                if arena[row, A_STORES] == LAUNCHES:  # a launch holds the vector engine too
                    body_start = max(body_start, free[VECTOR])
            if next_copy < waiting:
                size = queue[0, next_copy]
                begin = max(
                    max(free[SYSTEM], before_all),
                    max(free[link_slot[LINK_DRAM_READ]], free[link_slot[LINK_LLB_WRITE]]),
                )
                if begin < body_start:
                    read = ceil_div(in_bursts(size, m.dram_burst), m.dram_read)
                    write = -(-size // m.llb_write)
                    hold = m.sdma_startup + max(-(-size // m.sdma_bytes), max(read, write))
                    free[SYSTEM] = begin + hold
                    free[link_slot[LINK_DRAM_READ]] = begin + read
                    free[link_slot[LINK_LLB_WRITE]] = begin + write
                    layer = queue[1, next_copy]
                    staged_ready[layer] = begin + hold
                    for j in range(stop - first):
                        if staged_by[first + j] == layer:
                            external[SLOT_ENTRIES + entries + j] = begin + hold
                    next_layer = queue[1, next_copy + 1] if next_copy + 1 < waiting else -1
                    if next_layer != layer:
                        pending[layer] = 0
                    copied[0, placed] = k
                    copied[1, placed] = i
                    copied[2, placed] = layer
                    placed += 1
                    last_all = max(last_all, begin + hold)
                    next_copy += 1
                    continue
            hold = arena[row, A_HOLD]
            end = body_start + arena[row, A_LATENCY]
            free[engine] = body_start + hold
            if arena[row, A_STORES] == LAUNCHES:
                free[VECTOR] = body_start + hold
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
        step_finish[k] = before_all
        makespan = max(makespan, max(last_all, before_all))
    return makespan, placed
