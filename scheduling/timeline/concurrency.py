"""Timing of steps that hold several instances, and the order in which their instructions are merged.

The recurrence of hwmodel.timing.recurrence with engines per core. The cores of one instance stay in lock step, and an
instance begins when all before it in its step that share a core with it have been placed: so while it runs its engines
are three free times, and cores matter where it begins and ends. Into the program order goes, each time, the instruction
that can start first, the earlier instance on a tie, of those whose waits have all been placed.
"""

from __future__ import annotations

import numpy as np

from hwmodel.compiled import compiled
from hwmodel.machines.machine_table import MachineTable
from scheduling.lowering.rows import (
    DMA,
    MATRIX,
    SLOT_COMPUTE,
    SLOT_ENTRIES,
    VECTOR,
)
from scheduling.lowering.tables import Ints, NetworkTable
from scheduling.timeline.arrangement import Arrangement
from scheduling.timeline.shared_cores import (
    LOOK_AGAIN,
    copy_start,
    give_back,
    launch_step,
    line_up,
    place_copy,
    take_cores,
)
from scheduling.timeline.simulation import (
    A_ENGINE,
    A_EXTERNAL0,
    A_EXTERNAL1,
    A_HOLD,
    A_LATENCY,
    A_LINK,
    A_LINK_HOLD,
    A_STORES,
    A_WAIT0,
    LAUNCHES,
    UNKNOWN,
    Times,
)
from scheduling.timeline.slices import SPLIT_BATCH, slices, touching
from scheduling.timeline.system_copies import SystemCopies

COPY = -1
"""In an order: the next chunk of the system copies."""

_BLOCKED = UNKNOWN


@compiled
def simulate_packed(
    net: NetworkTable,
    m: MachineTable,
    barrier_cycles: int,
    choices: Ints,
    plan: Arrangement,
    cores: Ints,
    arena: Ints,
    offset: Ints,
    length: Ints,
    local_start: Ints,
    local_tensor: Ints,
    entry_count: Ints,
    reuse_start: Ints,
    reuse_of: Ints,
    freed_start: Ints,
    freed_by: Ints,
    copies: SystemCopies,
    follow: Ints,
) -> tuple[Times, Ints]:
    """Run the packed steps of an arrangement; also returns the order with COPY where a copy stands.

    Instance k runs on `cores[k]` cores, as rows offset[k] .. offset[k] + length[k] of the arena; its local tensors are
    local_tensor[local_start[k]:], the first entry_count[k] of them its entries. It waits for the last transfers of
    the instances reuse_of[reuse_start[k] : reuse_start[k + 1]], whose bytes in the LLB it overwrites, and for the
    system copies freed_by[freed_start[k] : freed_start[k + 1]], which leave such bytes. What instances make that the
    arrangement does not hold is there at the start. `follow`: an order that an earlier call returned, to be kept;
    without entries instructions are merged by earliest start. The makespan is -1 where an instance waits for a later
    one.
    """
    count = offset.shape[0]
    packed = plan.packed
    link_slot = np.array([0, 1, 2, 3])
    if m.dram_shared:
        link_slot[1] = 0
    if m.llb_shared:
        link_slot[3] = 2
    link_free = np.zeros(4, np.int64)
    system_free = 0
    core_free = np.zeros((m.cores, 3), np.int64)
    compute_done = np.zeros(m.cores, np.int64)
    dma_done = np.zeros(m.cores, np.int64)
    ready = np.zeros(plan.slice_address.shape[0], np.int64)
    placed = np.ones(plan.slice_address.shape[0], np.int64)
    home = np.full(net.is_matrix.shape[0], -1, np.int64)
    for s in range(choices.shape[0]):
        home[choices[s, 0] : choices[s, 1]] = s
    row_start = np.zeros(count + 1, np.int64)
    for k in range(count):
        row_start[k + 1] = row_start[k] + length[k]
        s = plan.subgraph[k]
        for layer in range(choices[s, 0], choices[s, 1]):
            placed[plan.slice_start[net.input_count + layer] + plan.instance[k]] = 0
    finish = np.zeros(row_start[count], np.int64)
    position = np.zeros(count, np.int64)
    engine_free = np.zeros((count, 3), np.int64)
    compute_wait = np.zeros(count, np.int64)
    dma_wait = np.zeros(count, np.int64)
    launched = np.zeros(count, np.int64)
    last_compute = np.zeros(count, np.int64)
    last_dma = np.zeros(count, np.int64)
    done = np.zeros(count, np.int64)
    ends = np.zeros(count, np.int64)
    earliest = np.full(count, _BLOCKED, np.int64)  # start of the next row, links left out; or why not known

    chunks = copies.job.shape[0]
    copy_of = np.empty(chunks, np.int64)
    copy_position = np.empty(chunks, np.int64)
    copy_end = np.full(copies.when.shape[0], UNKNOWN, np.int64)
    next_chunk = 0

    order = np.empty(row_start[count] + chunks, np.int64)
    ordered = 0
    prefix = np.zeros(
        count + 1, np.int64
    )  # latest finish of the first instances, as far as all of them are done
    prefix_count = 0
    active = np.empty(count, np.int64)
    blockers = np.zeros(count, np.int64)
    link_start = np.zeros(count + 1, np.int64)
    for k in range(count):
        link_start[k + 1] = link_start[k] + cores[k]
    follower = np.full(
        link_start[count], -1, np.int64
    )  # the next instance of the step on each core of an instance
    latest_on = np.full(m.cores, -1, np.int64)
    makespan = 0
    low = 0
    stepped = 0  # the instance of the row that was placed last, for copies
    while low < count:
        high = low
        while high < count and packed.step[high] == packed.step[low]:
            high += 1
        line_up(low, high, packed.first_core, cores, latest_on, link_start, follower, blockers)
        step_launched = False
        wave_low, wave_end, wave_base = low, 0, 0
        wave_high = high
        if packed.barrier[low] == 1:
            wave_high = low
            while wave_high < high and plan.when[wave_high] == plan.when[low]:
                wave_high += 1
        actives = 0
        begun = low  # instances before this one have been looked at
        left = high - low
        left_in_wave = wave_high - wave_low
        recheck = True
        stepped = low
        while left > 0 or (
            next_chunk < chunks and copies.when[copies.job[next_chunk]] <= plan.when[high - 1]
        ):
            while begun < wave_high:  # of this wave, or step: those whose cores are free of earlier instances
                if blockers[begun] == 0:
                    active[actives] = begun
                    actives += 1
                    take_cores(begun, packed.first_core, cores, core_free, compute_done, dma_done, engine_free,
                           compute_wait, dma_wait, earliest)  # fmt: skip
                begun += 1
                recheck = True
            best, best_start = -1, _BLOCKED
            wanted = follow[ordered] if follow.shape[0] > 0 else -2
            for a in range(actives):
                k = active[a]
                if wanted >= COPY and k != wanted:
                    continue
                row = offset[k] + position[k]
                if earliest[k] == LOOK_AGAIN or (earliest[k] == _BLOCKED and recheck):
                    earliest[k] = _earliest(
                        net, choices, plan, home, arena, row, k, local_start, local_tensor, entry_count, position,
                        engine_free, compute_wait, dma_wait, launched, finish, row_start, ready, placed, done,
                        last_dma, reuse_start, reuse_of, copies, copy_end, freed_start, freed_by, step_launched, low,
                        wave_base,
                    )  # fmt: skip
                start = earliest[k]
                link = arena[row, A_LINK]
                if link >= 0:
                    start = max(start, link_free[link_slot[link]])
                if start < best_start or (start == best_start and k < best):
                    best, best_start = k, start
            recheck = False
            if (
                next_chunk < chunks
                and copies.when[copies.job[next_chunk]] <= plan.when[high - 1]
                and wanted <= COPY
            ):
                first = low
                while first < high and plan.when[first] < copies.when[copies.job[next_chunk]]:
                    first += 1
                if prefix_count >= first:
                    begin = copy_start(copies, next_chunk, system_free, prefix[first], link_slot, link_free)
                    if begin < best_start:
                        system_free = place_copy(m, copies, next_chunk, begin, link_slot, link_free, copy_end)
                        copy_of[next_chunk] = stepped
                        copy_position[next_chunk] = position[stepped]
                        makespan = max(makespan, system_free)
                        order[ordered] = COPY
                        ordered += 1
                        next_chunk += 1
                        recheck = True
                        continue
            k = best
            if k < 0 or best_start >= _BLOCKED:
                return Times(-1, ends, copy_of, copy_position, order), order
            row = offset[k] + position[k]
            engine = arena[row, A_ENGINE]
            hold, latency = arena[row, A_HOLD], arena[row, A_LATENCY]
            if arena[row, A_STORES] == LAUNCHES:
                if k == low:  # it pays for the step
                    best_start = launch_step(
                        best_start, hold, latest_on, core_free, active, actives, engine_free
                    )
                    step_launched = True
                    recheck = True
                else:
                    hold = barrier_cycles if wave_low > low else 0
                    latency = hold
                    engine_free[k, MATRIX] = best_start + hold
                    engine_free[k, VECTOR] = best_start + hold
                launched[k] = 1
            else:
                engine_free[k, engine] = best_start + hold
            link = arena[row, A_LINK]
            if link >= 0:
                link_free[link_slot[link]] = best_start + arena[row, A_LINK_HOLD]
            end = best_start + latency
            finish[row_start[k] + position[k]] = end
            if engine == DMA:
                last_dma[k] = max(last_dma[k], end)
            else:
                last_compute[k] = max(last_compute[k], end)
            stored = arena[row, A_STORES]
            if stored >= 0:
                place = plan.slice_start[local_tensor[local_start[k] + stored]] + plan.instance[k]
                ready[place] = end
                placed[place] = 1
                recheck = True
            position[k] += 1
            earliest[k] = LOOK_AGAIN
            order[ordered] = k
            ordered += 1
            stepped = k
            if position[k] < length[k]:
                continue
            # The instance has been placed: its cores go to the next ones.
            done[k] = 1
            s = plan.subgraph[k]
            for layer in range(choices[s, 0], choices[s, 1]):  # of some it may have had nothing to store
                placed[plan.slice_start[net.input_count + layer] + plan.instance[k]] = 1
            left -= 1
            ends[k] = max(last_compute[k], last_dma[k])
            makespan = max(makespan, ends[k])
            wave_end = max(wave_end, last_dma[k])
            for a in range(actives):
                if active[a] == k:
                    actives -= 1
                    active[a] = active[actives]
                    break
            give_back(
                k,
                packed.first_core,
                cores,
                engine_free,
                last_compute,
                last_dma,
                core_free,
                compute_done,
                dma_done,
            )
            for c in range(cores[k]):
                after = follower[link_start[k] + c]
                if after >= 0:
                    blockers[after] -= 1
                    if blockers[after] == 0 and after < begun:
                        active[actives] = after
                        actives += 1
                        take_cores(after, packed.first_core, cores, core_free, compute_done, dma_done, engine_free,
                               compute_wait, dma_wait, earliest)  # fmt: skip
            while prefix_count < count and done[prefix_count] == 1:
                prefix[prefix_count + 1] = max(prefix[prefix_count], ends[prefix_count])
                prefix_count += 1
            left_in_wave -= 1
            if left_in_wave == 0 and wave_high < high:
                wave_low, wave_base = wave_high, wave_end
                while wave_high < high and plan.when[wave_high] == plan.when[wave_low]:
                    wave_high += 1
                left_in_wave = wave_high - wave_low
            recheck = True
        low = high
    while next_chunk < chunks:  # what moves after the last wave
        begin = copy_start(copies, next_chunk, system_free, int(prefix[count]), link_slot, link_free)
        system_free = place_copy(m, copies, next_chunk, begin, link_slot, link_free, copy_end)
        copy_of[next_chunk] = stepped
        copy_position[next_chunk] = position[stepped]
        makespan = max(makespan, system_free)
        order[ordered] = COPY
        ordered += 1
        next_chunk += 1
    inside = order.copy()
    c = 0
    for i in range(ordered):
        if inside[i] == COPY:
            inside[i] = copy_of[c]
            c += 1
    return Times(makespan, ends, copy_of, copy_position, inside), order


@compiled
def _earliest(
    net: NetworkTable,
    choices: Ints,
    plan: Arrangement,
    home: Ints,
    arena: Ints,
    row: int,
    k: int,
    local_start: Ints,
    local_tensor: Ints,
    entry_count: Ints,
    position: Ints,
    engine_free: Ints,
    compute_wait: Ints,
    dma_wait: Ints,
    launched: Ints,
    finish: Ints,
    row_start: Ints,
    ready: Ints,
    placed: Ints,
    done: Ints,
    last_dma: Ints,
    reuse_start: Ints,
    reuse_of: Ints,
    copies: SystemCopies,
    copy_end: Ints,
    freed_start: Ints,
    freed_by: Ints,
    step_launched: bool,
    step_first: int,
    wave_base: int,
) -> int:
    """When the next row of instance k can start, but for links; _BLOCKED while what it waits for is not placed."""
    start = engine_free[k, arena[row, A_ENGINE]]
    launch = arena[row, A_STORES] == LAUNCHES
    if launch:
        start = max(start, engine_free[k, VECTOR])
        if not step_launched and k != step_first:
            return _BLOCKED
    if launched[k] == 0:
        start = max(start, wave_base)
        for i in range(reuse_start[k], reuse_start[k + 1]):
            if done[reuse_of[i]] == 0:
                return _BLOCKED
            start = max(start, last_dma[reuse_of[i]])
        for i in range(freed_start[k], freed_start[k + 1]):
            start = max(start, copy_end[freed_by[i]])
    for w in range(A_WAIT0, A_WAIT0 + 3):
        if arena[row, w] >= 0:
            start = max(start, finish[row_start[k] + arena[row, w]])
    s = plan.subgraph[k]
    slot = arena[row, A_EXTERNAL0]
    if slot >= SLOT_ENTRIES:
        t = local_tensor[local_start[k] + slot - SLOT_ENTRIES]
        made_by = net.producer[t]
        low, high = plan.slice_start[t], plan.slice_start[t] + 1
        if made_by >= 0:
            q = home[made_by]
            ib = plan.instance[k] // slices(choices, s)
            a, b = touching(ib, choices[s, SPLIT_BATCH], choices[q, SPLIT_BATCH], net.batch)
            low, high = (
                plan.slice_start[t] + a * slices(choices, q),
                plan.slice_start[t] + b * slices(choices, q),
            )
            for place in range(low, high):
                if placed[place] == 0:
                    return _BLOCKED
                start = max(start, ready[place])
        for j in range(copies.when.shape[0]):
            if low <= copies.first_slice[j] < high and copies.move[j] >= 0 and copies.when[j] <= plan.when[k]:
                start = max(start, copy_end[j])
    elif slot == SLOT_COMPUTE:
        start = max(start, compute_wait[k])
    elif slot >= 0:
        start = max(start, dma_wait[k])
    slot = arena[row, A_EXTERNAL1]
    if slot >= 0:
        layer = plan.staged_by[choices[s, 0] + slot - SLOT_ENTRIES - entry_count[k]]
        for j in range(copies.when.shape[0]):
            if copies.layer[j] == layer and copies.when[j] <= plan.when[k]:
                start = max(start, copy_end[j])
    return int(min(start, _BLOCKED))
