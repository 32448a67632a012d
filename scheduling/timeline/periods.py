"""Periods: steps of one template whose state repeats are jumped over, with the same result to the cycle.

What a step does depends on its template, on when engines and links are free, on when the compute and the transfers of
the step before ended, and on when what it reads is there. The recurrence only adds and takes maxima, so where all of
these are later by the same cycles than some steps of the same template ago, everything that follows is later by as
much, and so on until another template, another slice of the batch or a system copy comes. What is read must have been
there before any engine was free, and then decides nothing. A link counts as free no earlier than the DMA queue, without
which nothing uses it.
"""

from __future__ import annotations

from hwmodel.compiled import compiled_leaf
from scheduling.lowering.rows import DMA, MATRIX, SLOT_ENTRIES, VECTOR
from scheduling.lowering.tables import Ints

MOST_PERIOD = 4
"""Steps after which a repetition is still found. Tiles of one template repeat after one step, or two."""

_RUN, _FIRST_LINK, _COMPUTE, _TRANSFERS = MOST_PERIOD, 4, 8, 9

STATES = (MOST_PERIOD + 1, 10)
"""Shape of the array `states` of `repeated`, which begins as zeros."""


@compiled_leaf
def repeated(
    k: int,
    quiet_until: int,
    places: Ints,
    subgraph: Ints,
    instance: Ints,
    slices: int,
    free: Ints,
    before_compute: int,
    before_dma: int,
    external: Ints,
    slots: int,
    states: Ints,
) -> tuple[int, int, int]:
    """(steps, period, cycles): so many steps from k on are those `period` steps earlier, `cycles` later; the number is
    a multiple of the period, 0 where nothing repeats.

    It is called for every step without system copies, and from k on there are none before step `quiet_until`. `places`
    (N, 4) begin with the template of each step (its first row), `slices` are the instances of the step's sub-graph in a
    slice of the batch. `external`, from SLOT_ENTRIES to `slots`, is when what step k reads is there. `states` is kept
    from call to call.
    """
    run = states[_RUN, 0]  # the first step of those like k that follow one another
    alike = k > 0 and states[_RUN, 1] == k - 1 and _same(k - 1, k, places, subgraph, instance, slices)
    if not alike:
        run = k
    states[_RUN, 0], states[_RUN, 1] = run, k
    now = k % MOST_PERIOD
    latest = 0
    for slot in range(SLOT_ENTRIES, slots):
        latest = max(latest, external[slot])
    period, cycles = 0, 0
    for back in range(1, min(MOST_PERIOD - 1, k - run) + 1):
        then = (k - back) % MOST_PERIOD
        later = free[DMA] - states[then, DMA]
        if latest > min(states[then, MATRIX], min(states[then, VECTOR], states[then, DMA])):
            break
        same = before_compute == states[then, _COMPUTE] + later
        same = same and before_dma == states[then, _TRANSFERS] + later
        same = same and free[MATRIX] == states[then, MATRIX] + later
        same = same and free[VECTOR] == states[then, VECTOR] + later
        for link in range(_FIRST_LINK, _COMPUTE):
            same = same and max(free[link], free[DMA]) == states[then, link] + later
        if same:
            period, cycles = back, later
            break
    for resource in range(_COMPUTE):
        states[now, resource] = max(free[resource], free[DMA]) if resource >= _FIRST_LINK else free[resource]
    states[now, _COMPUTE], states[now, _TRANSFERS] = before_compute, before_dma
    if period == 0:
        return 0, 0, 0
    stop = k + 1
    while stop < quiet_until and _same(k, stop, places, subgraph, instance, slices):
        stop += 1
    return (stop - k) // period * period, period, cycles


@compiled_leaf
def _same(one: int, other: int, places: Ints, subgraph: Ints, instance: Ints, slices: int) -> bool:
    """Whether two steps have one template and belong to one slice of the batch."""
    return bool(
        places[one, 0] == places[other, 0]
        and subgraph[one] == subgraph[other]
        and instance[one] // slices == instance[other] // slices
    )


@compiled_leaf
def jump(k: int, steps: int, period: int, cycles: int, free: Ints, step_finish: Ints) -> int:
    """Set the state as it is after `steps` steps from k on that repeat; returns the cycles by which they move it."""
    for step in range(k, k + steps):
        step_finish[step] = step_finish[step - period] + cycles
    moved = steps // period * cycles
    for link in range(_FIRST_LINK, _COMPUTE):
        free[link] = max(free[link], free[DMA]) + moved
    for engine in (MATRIX, VECTOR, DMA):
        free[engine] += moved
    return int(moved)


@compiled_leaf
def jump_stores(
    k: int, steps: int, period: int, cycles: int, instance: Ints, slice_start: int, ready: Ints
) -> None:
    """When the slices of a tensor that starts at `slice_start` are stored by those steps."""
    for step in range(k, k + steps):
        ready[slice_start + instance[step]] = ready[slice_start + instance[step - period]] + cycles
