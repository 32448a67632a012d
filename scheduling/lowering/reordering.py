"""Rows of an instance in another order: the order checked, the waits found anew, orders made by list scheduling.

An order of I instructions is the array of their numbers, in the order in which lowering has them, as they are to run.
"""

from __future__ import annotations

import numpy as np

from hwmodel.compiled import compiled, compiled_leaf
from scheduling.lowering.hazards import Hazards
from scheduling.lowering.rows import (
    C_ENGINE,
    C_EXTERNAL0,
    C_HOLD,
    C_LATENCY,
    C_LINK,
    C_LINK_HOLD,
    C_OP,
    C_WAIT0,
    OP_LAUNCH,
    OP_LOADW,
    SLOT_COMPUTE,
    SLOT_DMA,
    VECTOR,
)
from scheduling.lowering.tables import Ints
from scheduling.lowering.waits import arrange_rows

FAR = 1 << 60


@compiled
def out_of_order(hazards: Hazards, order: Ints) -> tuple[int, int]:
    """Two instructions of which the first must be before the second and is not, or (-1, -1)."""
    place = np.empty(order.shape[0], np.int64)
    for k in range(order.shape[0]):
        place[order[k]] = k
    for i in range(order.shape[0]):
        for e in range(hazards.start[i], hazards.start[i + 1]):
            if place[hazards.before[e]] > place[i]:
                return int(hazards.before[e]), i
    return -1, -1


@compiled
def reordered(rows: Ints, hazards: Hazards, order: Ints) -> Ints:
    """Rows (I, COLUMNS) in a legal order, with waits for the latest instruction of each engine that each must follow.

    The first of the vector engine waits for the transfers of the kernel before, and loads of weights for its
    computation: what else they waited for in it was implied by the order that they had.
    """
    count = order.shape[0]
    place = np.empty(count, np.int64)
    for k in range(count):
        place[order[k]] = k
    moved = rows[order]
    raw = np.full((count, 4), -1, np.int64)
    first_vector = True
    for k in range(count):
        i = order[k]
        for e in range(hazards.start[i], hazards.start[i + 1]):
            other = place[hazards.before[e]]
            engine = moved[other, C_ENGINE]
            raw[k, engine] = max(raw[k, engine], other)
        if moved[k, C_ENGINE] == VECTOR:
            moved[k, C_EXTERNAL0] = SLOT_DMA if first_vector else -1
            first_vector = False
        elif moved[k, C_OP] == OP_LOADW:
            moved[k, C_EXTERNAL0] = SLOT_COMPUTE
    return arrange_rows(moved, raw, np.full(count, -1, np.int64), count, 0)


@compiled
def tails(rows: Ints, hazards: Hazards) -> Ints:
    """(I,) cycles from the start of each instruction to the end of the longest chain of hazards that it begins."""
    count = rows.shape[0]
    tail = rows[:, C_LATENCY].copy()
    for i in range(count - 1, -1, -1):
        for e in range(hazards.start[i], hazards.start[i + 1]):
            other = hazards.before[e]
            tail[other] = max(tail[other], rows[other, C_LATENCY] + tail[i])
    return tail


@compiled_leaf
def _start(rows: Ints, i: int, free: Ints, link_slot: Ints, ready: int) -> int:
    begin = max(ready, free[rows[i, C_ENGINE]])
    if rows[i, C_LINK] >= 0:
        begin = max(begin, free[link_slot[rows[i, C_LINK]]])
    if rows[i, C_OP] == OP_LAUNCH:
        begin = max(begin, free[VECTOR])
    return int(begin)


@compiled
def list_order(rows: Ints, hazards: Hazards, priority: Ints, link_slot: Ints, active: bool) -> Ints:
    """A legal order by list scheduling on an empty machine.

    Of the instructions that all they must follow have been placed, the one that can start first is placed, of these
    that of the highest `priority`; or, where `active`, of those on the engine of the one that can finish first that
    could start before it finishes, that of the highest priority (Giffler and Thompson, Operations Research 1960).
    `link_slot` (4,) gives the place of each link in the array of when things are free.
    """
    count = rows.shape[0]
    missing = np.zeros(count, np.int64)
    after_start = np.zeros(count + 2, np.int64)
    for i in range(count):
        missing[i] = hazards.start[i + 1] - hazards.start[i]
        for e in range(hazards.start[i], hazards.start[i + 1]):
            after_start[hazards.before[e] + 2] += 1
    for i in range(count):
        after_start[i + 2] += after_start[i + 1]
    after = np.empty(hazards.before.shape[0], np.int64)
    for i in range(count):
        for e in range(hazards.start[i], hazards.start[i + 1]):
            other = hazards.before[e]
            after[after_start[other + 1]] = i
            after_start[other + 1] += 1
    free = np.zeros(8, np.int64)
    ready = np.zeros(count, np.int64)  # when all that it must follow has ended
    waiting = np.empty(count, np.int64)
    held = 0
    for i in range(count):
        if missing[i] == 0:
            waiting[held] = i
            held += 1
    order = np.empty(count, np.int64)
    for k in range(count):
        limit, engine = FAR, -1
        if active:
            for w in range(held):
                i = waiting[w]
                end = _start(rows, i, free, link_slot, ready[i]) + max(1, rows[i, C_HOLD])
                if end < limit:
                    limit, engine = end, rows[i, C_ENGINE]
        chosen, best = -1, FAR
        for w in range(held):
            i = waiting[w]
            if active and rows[i, C_ENGINE] != engine:
                continue
            begin = _start(rows, i, free, link_slot, ready[i])
            if active:
                if begin >= limit:
                    continue
                begin = 0
            other = waiting[chosen] if chosen >= 0 else -1
            better = chosen < 0 or begin < best
            if not better and begin == best:
                better = priority[i] > priority[other] or (priority[i] == priority[other] and i < other)
            if better:
                chosen, best = w, begin
        i = waiting[chosen]
        held -= 1
        waiting[chosen] = waiting[held]
        order[k] = i
        begin = _start(rows, i, free, link_slot, ready[i])
        free[rows[i, C_ENGINE]] = begin + rows[i, C_HOLD]
        if rows[i, C_OP] == OP_LAUNCH:
            free[VECTOR] = begin + rows[i, C_HOLD]
        if rows[i, C_LINK] >= 0:
            free[link_slot[rows[i, C_LINK]]] = begin + rows[i, C_LINK_HOLD]
        for a in range(after_start[i], after_start[i + 1]):
            other = after[a]
            ready[other] = max(ready[other], begin + rows[i, C_LATENCY])
            missing[other] -= 1
            if missing[other] == 0:
                waiting[held] = other
                held += 1
    return order


@compiled
def start_cycles(rows: Ints, link_slot: Ints) -> Ints:
    """(I,) when each instruction of an instance starts on an empty machine."""
    count = rows.shape[0]
    start = np.zeros(count, np.int64)
    free = np.zeros(8, np.int64)
    for i in range(count):
        ready = 0
        for w in range(C_WAIT0, C_WAIT0 + 3):
            if rows[i, w] >= 0:
                ready = max(ready, start[rows[i, w]] + rows[rows[i, w], C_LATENCY])
        begin = _start(rows, i, free, link_slot, ready)
        start[i] = begin
        free[rows[i, C_ENGINE]] = begin + rows[i, C_HOLD]
        if rows[i, C_OP] == OP_LAUNCH:
            free[VECTOR] = begin + rows[i, C_HOLD]
        if rows[i, C_LINK] >= 0:
            free[link_slot[rows[i, C_LINK]]] = begin + rows[i, C_LINK_HOLD]
    return start
