"""Places in the LLB of the overlaps that sub-graphs cache there: for each slice of the batch the lowest that is free
from its first instance to its last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scheduling.choice import Choice
from scheduling.errors import IllegalSchedule
from scheduling.lowering.tables import Ints


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
    items = [tuple(item) for item in taken.tolist()]
    for s, (choice, size) in enumerate(zip(choices, overlap_bytes, strict=True)):
        for part in range(choice.split_batch if size else 0):
            own = int(instance_start[s]) + part * choice.slices
            steps = when[own : own + choice.slices]
            begin, end = int(steps.min()), int(steps.max())
            address = 0
            for first, last, other, wide in sorted(items, key=lambda item: item[2]):
                if first <= end and begin <= last and other < address + size:
                    address = max(address, other + wide)
            if address + size > llb_bytes:
                raise IllegalSchedule(
                    f"sub-graph of layers {choice.first} to {choice.stop - 1}: llb ({llb_bytes} bytes) is short by "
                    f"{address + size - llb_bytes} bytes for the overlaps that it caches"
                )
            addresses[own : own + choice.slices] = address
            items.append((begin, end, address, size))
    return addresses, np.array(items, np.int64).reshape(-1, 4)
