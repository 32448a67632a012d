"""The order of instructions by CP-SAT, exactly for small kernels and window by window for larger ones.

A job shop with precedences: an instruction holds its engine and, for a transfer, its link, and waits for its hazards
(scheduling.lowering.hazards). Of a window everything before is fixed, which says when engines and links are free, and
so is the order of everything behind: from each instruction to the end there is a longest path through waits and queues,
so what the window's order makes of the whole is exact. The order that there is comes as a hint, and what is found is
never slower on an empty machine. Deterministic: one worker, a fixed seed, and a limit in CP-SAT's deterministic time.

Needs OR-tools, which `pip install oncore[exact]` brings.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ortools.sat.python import cp_model

from scheduling.lowering.hazards import Hazards
from scheduling.lowering.reordering import reordered, start_cycles
from scheduling.lowering.rows import (
    C_ENGINE,
    C_HOLD,
    C_LATENCY,
    C_LINK,
    C_LINK_HOLD,
    C_OP,
    MATRIX,
    OP_LAUNCH,
    VECTOR,
)
from scheduling.lowering.tables import Ints

WINDOW = 50
"""Instructions of a window. More are rarely proven, and found no better than by the hint."""

STEP = 25
"""From one window to the next."""

DETERMINISTIC_TIME = 0.5
"""Limit of a window; about so many seconds."""


class WindowedOrder(NamedTuple):
    """An order, its cycles on an empty machine, and how many of the windows were solved to their optimum.

    With a single window, which holds the whole kernel, that is the optimum of the kernel.
    """

    order: Ints
    cycles: int
    proven: int
    windows: int


def order_by_windows(
    rows: Ints,
    hazards: Hazards,
    order: Ints,
    link_slot: Ints,
    *,
    window: int = WINDOW,
    step: int = STEP,
    deterministic_time: float = DETERMINISTIC_TIME,
) -> WindowedOrder:
    """Improve a legal order (I,) of rows (I, COLUMNS), window by window from the front."""
    best = order.copy()
    count, proven, windows = len(order), 0, 0
    cycles = _cycles(rows, hazards, best, link_slot)
    first = 0
    while True:
        stop = min(count, first + window)
        found, optimal = _solve(rows, hazards, best, link_slot, first, stop, cycles, deterministic_time)
        windows += 1
        proven += optimal
        if found is not None:
            taken = _cycles(rows, hazards, found, link_slot)
            if taken <= cycles:
                best, cycles = found, taken
        if stop == count:
            return WindowedOrder(best, cycles, proven, windows)
        first += step


def _cycles(rows: Ints, hazards: Hazards, order: Ints, link_slot: Ints) -> int:
    moved = reordered(rows, hazards, order)
    return int((start_cycles(moved, link_slot) + moved[:, C_LATENCY]).max())


def _resources(row: Ints, link_slot: Ints) -> list[tuple[int, int]]:
    """What an instruction holds, and for how many cycles."""
    if row[C_OP] == OP_LAUNCH:
        return [(MATRIX, int(row[C_HOLD])), (VECTOR, int(row[C_HOLD]))]
    held = [(int(row[C_ENGINE]), int(row[C_HOLD]))]
    if row[C_LINK] >= 0:
        held.append((int(link_slot[row[C_LINK]]), int(row[C_LINK_HOLD])))
    return held


def _solve(
    rows: Ints,
    hazards: Hazards,
    order: Ints,
    link_slot: Ints,
    first: int,
    stop: int,
    cycles: int,
    deterministic_time: float,
) -> tuple[Ints | None, bool]:
    """The order with positions [first, stop) put anew, or None where nothing was found in time; whether it is the
    best."""
    count = len(order)
    place = np.empty(count, np.int64)
    place[order] = np.arange(count)
    moved = reordered(rows, hazards, order)
    start = start_cycles(moved, link_slot).tolist()
    latency = moved[:, C_LATENCY].tolist()
    holds = [_resources(row, link_slot) for row in moved]
    before = [
        [int(place[i]) for i in hazards.before[hazards.start[row] : hazards.start[row + 1]]] for row in order
    ]
    free: dict[int, int] = {}
    for k in range(first):
        for resource, hold in holds[k]:
            free[resource] = start[k] + hold
    # From the start of each instruction behind the window to the end, the order there being fixed.
    left, following = [0] * count, [0] * count
    queue_left: dict[int, int] = {}
    for k in range(count - 1, stop - 1, -1):
        left[k] = max(latency[k] + following[k], *(hold + queue_left.get(r, 0) for r, hold in holds[k]))
        queue_left.update((r, left[k]) for r, _ in holds[k])
        for other in before[k]:
            following[other] = max(following[other], left[k])

    model = cp_model.CpModel()
    variables = {}
    makespan = model.new_int_var(0, cycles, "makespan")
    by_resource: dict[int, list[cp_model.IntervalVar]] = {}
    for k in range(first, stop):
        earliest = max((start[p] + latency[p] for p in before[k] if p < first), default=0)
        earliest = max(earliest, *(free.get(r, 0) for r, _ in holds[k]))
        begin = variables[k] = model.new_int_var(earliest, cycles, f"start{k}")
        model.add_hint(begin, start[k])
        model.add(makespan >= begin + latency[k] + following[k])
        for resource, hold in holds[k]:
            model.add(makespan >= begin + hold + queue_left.get(resource, 0))
            if hold:
                interval = model.new_fixed_size_interval_var(begin, hold, f"hold{k}_{resource}")
                by_resource.setdefault(resource, []).append(interval)
        for other in before[k]:
            if other >= first:
                model.add(begin >= variables[other] + latency[other])
    for intervals in by_resource.values():
        model.add_no_overlap(intervals)
    model.minimize(makespan)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = deterministic_time
    found = solver.status_name(solver.solve(model))
    if found not in ("OPTIMAL", "FEASIBLE"):
        return None, False
    chosen = sorted(range(first, stop), key=lambda k: (solver.value(variables[k]), k))
    result = order.copy()
    result[first:stop] = order[chosen]
    return result, found == "OPTIMAL"
