"""Places in the LLB of the overlaps that sub-graphs cache there: for each slice of the batch the lowest that is free
from its first instance to its last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scheduling.choice import Choice
from scheduling.errors import IllegalSchedule
from scheduling.lowering.tables import Ints
from scheduling.timeline.llb_places import first_fit, insert

UNLIMITED = 1 << 62
"""Bytes to look for a place in, so that an error can say how many are missing."""


def place_caches(
    choices: Sequence[Choice],
    overlap_bytes: Sequence[int],
    instance_start: Ints,
    when: Ints,
    taken: Ints,
    llb_bytes: int,
) -> tuple[Ints, Ints]:
    """((N,) the address for each instance, by sub-graph, then instance, -1 where nothing is cached; all that is taken
    then).

    `when` (N,) is the step or wave of each instance, and `taken` (n, 4) what lies in the LLB already: first and last
    step, address and size. Raises IllegalSchedule where a cache finds no place.
    """
    addresses = np.full(int(instance_start[-1]), -1, np.int64)
    most = len(taken) + sum(choice.split_batch for choice in choices)
    items, by_address = np.empty((most, 4), np.int64), np.empty(most, np.int64)
    placed = 0
    for item in taken.tolist():
        placed = insert(items, by_address, placed, *item)
    for s, (choice, size) in enumerate(zip(choices, overlap_bytes, strict=True)):
        for part in range(choice.split_batch if size else 0):
            own = int(instance_start[s]) + part * choice.slices
            steps = when[own : own + choice.slices]
            begin, end = int(steps.min()), int(steps.max())
            address = first_fit(items, by_address, placed, np.array([[begin, end]]), size, UNLIMITED)
            if address + size > llb_bytes:
                raise IllegalSchedule(
                    f"sub-graph {s}: llb ({llb_bytes} bytes) is short by "
                    f"{address + size - llb_bytes} bytes for the overlaps that it caches"
                )
            addresses[own : own + choice.slices] = address
            placed = insert(items, by_address, placed, begin, end, address, size)
    return addresses, items[:placed]
