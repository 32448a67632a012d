"""A hash table of rows of numbers, compiled: the searches use it to find a state that they have met before."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwmodel.compiled import compiled
from scheduling.lowering.tables import Ints


@compiled
def slot_of(table: Ints, rows: NDArray[Any], row: NDArray[Any], width: int) -> int:
    """Where a row with the same first `width` numbers as `row` is in a table of indices into `rows`, or the free entry
    (-1) where it belongs. The table's size is a power of two."""
    mixed = np.uint64(0x9E3779B97F4A7C15)
    for i in range(width):
        mixed = (mixed ^ np.uint64(row[i])) * np.uint64(0xFF51AFD7ED558CCD)
        mixed ^= mixed >> np.uint64(32)
    slot = np.int64(mixed & np.uint64(table.shape[0] - 1))
    while table[slot] >= 0:
        same = True
        for i in range(width):
            if rows[table[slot], i] != row[i]:
                same = False
                break
        if same:
            break
        slot = (slot + 1) & (table.shape[0] - 1)
    return int(slot)


@compiled
def grown(table: Ints, rows: NDArray[Any], count: int, width: int) -> Ints:
    """The table of the first `count` rows, or one of twice its size where it is half full."""
    if 2 * count < table.shape[0]:
        return table
    larger = np.full(2 * table.shape[0], -1, np.int64)
    for state in range(count):
        larger[slot_of(larger, rows, rows[state], width)] = state
    return larger
